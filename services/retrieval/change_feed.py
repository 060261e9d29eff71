"""Carries changes of the catalogue to the log and to every release that is loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import structlog

from common.errors import NotReady
from services.retrieval.change import Change
from services.retrieval.change_log import ChangeLog
from services.retrieval.items import Item
from services.retrieval.live_catalogue import Applied
from services.retrieval.vector_index import Floats

# Records that no longer say anything new are left out at start once they are so many, and the larger part.
_FEW_SUPERSEDED: Final = 1_000
_ITEMS_A_RECORD: Final = 1_000

_log = structlog.get_logger()


class Follower(Protocol):
    """What changes are carried to."""

    def apply(self, change: Change) -> Applied:
        """Show a change to every search from now on."""
        ...


class ChangeFeed:
    """One writer over the log and the releases loaded.

    A change says what an item is from now on, or that it is gone, so it holds on top of any release: a release that
    is activated gets every change that was ever made, in order, and so does one that is rolled back to. Changes that
    have found their way into the releases' data are dropped by starting with a new folder.

    Args:
        folder: Where the log lies; None refuses changes, since they would not survive.

    Raises:
        NotReady: The log can't be used; see `ChangeLog`.
    """

    def __init__(self, folder: Path | None) -> None:
        self._log = None if folder is None else ChangeLog(folder)
        self._writer = threading.Lock()
        self._followers: list[Follower] = []
        if self._log is not None:
            _compact(self._log)

    def attach(self, follower: Follower) -> int:
        """Carry every change made so far to ``follower``, and from now on each new one; returns how many there were."""
        count, position = 0, 0
        if self._log is not None:  # the bulk without holding up writers
            count, position = _carry(self._log.read(), follower)
        with self._writer:
            if self._log is not None:
                count += _carry(self._log.read(position), follower)[0]
            self._followers.append(follower)
        return count

    def detach(self, follower: Follower) -> None:
        """Carry nothing more to ``follower``; it need not be attached."""
        with self._writer:
            if follower in self._followers:
                self._followers.remove(follower)

    def commit(self, change: Change, asker: Follower) -> Applied:
        """Make a change durable, show it to all followers, and return what it did to ``asker``.

        Raises:
            NotReady: The change can't be stored; nothing was changed.
        """
        if self._log is None:
            raise NotReady("changes of the catalogue would not survive a crash here; start the server with --data-dir")
        with self._writer:
            self._log.append(change)
            applied = [(follower, follower.apply(change)) for follower in self._followers]
        return next(what for follower, what in applied if follower is asker)

    def close(self) -> None:
        """Let go of the log."""
        if self._log is not None:
            self._log.close()


def _carry(changes: Iterable[tuple[int, Change]], follower: Follower) -> tuple[int, int]:
    """Apply changes; returns how many, and where the last one ended."""
    count, position = 0, 0
    for position, change in changes:  # noqa: B007 - the last position is the result
        follower.apply(change)
        count += 1
    return count, position


def _compact(log: ChangeLog) -> None:
    """Leave out what later changes superseded, where that is worth it."""
    last: dict[str, tuple[Item, Floats, str] | None] = {}
    statements = 0
    for _, change in log.read():
        statements += len(change.items) + len(change.deleted)
        for item, vector in zip(change.items, change.vectors, strict=True):
            last[item.item_id] = (item, vector, change.encoder)
        last.update(dict.fromkeys(change.deleted))
    superseded = statements - len(last)
    if superseded > max(_FEW_SUPERSEDED, len(last)):
        log.rewrite(_as_changes(last))
        _log.info("log of changes compacted", kept=len(last), dropped=superseded)


def _as_changes(last: dict[str, tuple[Item, Floats, str] | None]) -> Iterator[Change]:
    deleted = [item_id for item_id, state in last.items() if state is None]
    there = [state for state in last.values() if state is not None]
    for encoder in dict.fromkeys(state[2] for state in there):
        of_encoder = [state for state in there if state[2] == encoder]
        for start in range(0, len(of_encoder), _ITEMS_A_RECORD):
            part = of_encoder[start : start + _ITEMS_A_RECORD]
            yield Change(tuple(state[0] for state in part), np.stack([state[1] for state in part]), encoder)
    nothing = np.empty((0, 0), dtype=np.float32)
    for start in range(0, len(deleted), _ITEMS_A_RECORD):
        yield Change((), nothing, "", tuple(deleted[start : start + _ITEMS_A_RECORD]))
