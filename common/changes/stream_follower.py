"""Follows a stream of changes in a thread of its own, and goes on by itself when Redis comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from common.changes.redis_stream import ChangeStream, Entry, Position
from common.errors import NotReady

_RETRY_S: Final = 0.2


_log = structlog.get_logger()


class StreamFollower:
    """Hands over every entry after a position, in order, each once.

    Args:
        stream: What is followed.
        after: The last entry that the follower has.
        take: Given each entry, on the tail's thread; what it raises is logged, and the next entry follows.
        on_connection: Told whether Redis is there, when that changes.
    """

    def __init__(
        self,
        stream: ChangeStream,
        after: Position,
        take: Callable[[Entry], None],
        on_connection: Callable[[bool], None],
    ) -> None:
        self._stream = stream
        self._position = after
        self._take = take
        self._on_connection = on_connection
        self.connected = True
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="changes", daemon=True)
        on_connection(True)
        self._thread.start()

    def stop(self) -> None:
        """Hand over nothing more; waits a second or two for a thread that waits for Redis."""
        self._stopping.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                self._stream.wait(self._position)
                self._catch_up()
            except NotReady as error:
                self._tell(False, str(error))
                self._stopping.wait(_RETRY_S)
            else:
                self._tell(True, "")

    def _catch_up(self) -> None:
        for entry in self._stream.read(self._position):
            if self._stopping.is_set():
                return
            try:
                self._take(entry)
            except Exception:  # noqa: BLE001 - one bad entry must not keep the good ones behind it away
                _log.exception("a change was left out", stream=str(self._stream.address), entry=str(entry.position))
            if entry.whole:
                self._position = entry.position

    def _tell(self, connected: bool, reason: str) -> None:
        if connected == self.connected:
            return
        self.connected = connected
        self._on_connection(connected)
        if connected:
            _log.info("changes are followed again", stream=str(self._stream.address))
        else:
            _log.warning("changes can't be followed; trying again", reason=reason)
