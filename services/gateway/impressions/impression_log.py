"""The log of impressions, written on a thread of its own: records are lost and counted rather than waited for."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Protocol

from common.process.endless_loop import start_thread
from services.gateway.impressions.log_files import LogFiles, LogLimits
from services.gateway.profiles.pseudonyms import Pseudonyms

# About a second of a busy gateway; bounds the memory that a slow disk can cost.
_MAX_WAITING: Final = 10_000
# Bounds how long a line waits for the others of its group.
_MAX_GROUP: Final = 1_000
_LOOK_S: Final = 1.0
_STOP_S: Final = 10.0


class Record(Protocol):
    """What becomes a line of the log."""

    def line(self, pseudonyms: Pseudonyms) -> str:
        """Return the line, with its end."""
        ...


class ImpressionLog:
    """Writes records in their order, synced to the disk in groups.

    Args:
        folder: The folder of the files; made if it does not exist.
        pseudonyms: What makes the users' pseudonyms.
        limits: Bounds of the files.
        max_waiting: How many records may wait for the disk.

    Attributes:
        written: How many records are on the disk.
        lost: How many were not written: too many waited, or the disk refused them.

    Raises:
        BadImpressionsLog: The folder cannot be used.
    """

    def __init__(
        self, folder: Path, pseudonyms: Pseudonyms, limits: LogLimits, max_waiting: int = _MAX_WAITING
    ) -> None:
        self._files = LogFiles(folder, limits)
        self._pseudonyms = pseudonyms
        self._max_waiting = max_waiting
        self._waiting: deque[Record] = deque()
        self._erasures: deque[tuple[str, Future[int]]] = deque()
        self._changed = threading.Condition()
        self._is_stopped = False
        self.written = 0
        self.lost = 0
        self._thread = start_thread("impressions log", self._step, self._is_done)

    def write(self, record: Record) -> None:
        """Queue a record; it is lost, and counted, if too many wait. Neither blocks nor raises."""
        with self._changed:
            if len(self._waiting) >= self._max_waiting or self._is_stopped:
                self.lost += 1
                return
            self._waiting.append(record)
            self._changed.notify()

    async def erase_user(self, user_id: str) -> int:
        """Erase a user's records from all files; returns how many there were. Raises OSError if a file is refused."""
        done: Future[int] = Future()
        with self._changed:
            self._erasures.append((self._pseudonyms.of_user(user_id), done))
            self._changed.notify()
        return await asyncio.wrap_future(done)

    async def close(self) -> None:
        """Write what waits, and close the files."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, _STOP_S)
        self._files.close()

    def _is_done(self) -> bool:
        return self._is_stopped and not self._waiting and not self._erasures

    def _step(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._erasures or self._is_stopped, _LOOK_S)
            group = [self._waiting.popleft() for _ in range(min(_MAX_GROUP, len(self._waiting)))]
            # A user's records that were queued before the erasure are written first, and then erased.
            erasures = [] if self._waiting else [self._erasures.popleft() for _ in range(len(self._erasures))]
        try:
            self._write(group)
        finally:
            for user, done in erasures:
                self._erase(user, done)
        self._files.rotate_if_old()

    def _write(self, group: list[Record]) -> None:
        if not group:
            return
        try:
            self._files.append([record.line(self._pseudonyms) for record in group])
        except BaseException:
            self.lost += len(group)
            raise
        self.written += len(group)

    def _erase(self, user: str, done: Future[int]) -> None:
        if not done.set_running_or_notify_cancel():  # the caller has given up
            return
        try:
            done.set_result(self._files.erase(user))
        except OSError as error:
            done.set_exception(error)
