"""Changes kept in a log on this machine's disk, for one server."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from common.errors import NotReady
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.change import Change
from services.retrieval.changes.change_feed import ChangeListener
from services.retrieval.changes.compaction import Compaction
from services.retrieval.changes.write_ahead_log import WriteAheadLog

# Records that no longer say anything new are left out at start once they are so many, and the larger part.
_FEW_SUPERSEDED: Final = 1_000


_log = structlog.get_logger()


class LocalFeed:
    """One writer over the log and the releases loaded; implements `ChangeFeed`.

    Args:
        folder: Where the log lies; None refuses changes, since they would not survive.

    Raises:
        NotReady: The log can't be used; see `WriteAheadLog`.
    """

    def __init__(self, folder: Path | None) -> None:
        self._log = None if folder is None else WriteAheadLog(folder)
        self._writer = threading.Lock()
        self._followers: list[ChangeListener] = []
        if self._log is not None:
            _compact(self._log)

    def attach(self, follower: ChangeListener) -> int:
        """Carry every change made so far to ``follower``, and from now on each new one; returns how many there were."""
        count, position = 0, 0
        if self._log is not None:  # the bulk without holding up writers
            count, position = _carry(self._log.read(), follower)
        with self._writer:
            if self._log is not None:
                count += _carry(self._log.read(position), follower)[0]
            self._followers.append(follower)
        return count

    def detach(self, follower: ChangeListener) -> None:
        """Carry nothing more to ``follower``; it need not be attached."""
        with self._writer:
            if follower in self._followers:
                self._followers.remove(follower)

    def commit(self, change: Change, asker: ChangeListener) -> ChangeCounts:
        """Make a change durable, show it to all followers, and return what it did to ``asker``.

        Raises:
            NotReady: The change can't be stored; nothing was changed.
        """
        if self._log is None:
            raise NotReady(
                "changes of the catalogue would be lost in a crash; start the server with --data-dir or --change-stream"
            )
        with self._writer:
            self._log.append(change)
            applied = [(follower, follower.apply(change)) for follower in self._followers]
        return next(what for follower, what in applied if follower is asker)

    def close(self) -> None:
        """Let go of the log."""
        if self._log is not None:
            self._log.close()


def _carry(changes: Iterable[tuple[int, Change]], follower: ChangeListener) -> tuple[int, int]:
    """Apply changes; returns how many, and where the last one ended."""
    count, position = 0, 0
    for position, change in changes:  # noqa: B007 - the last position is the result
        follower.apply(change)
        count += 1
    return count, position


def _compact(log: WriteAheadLog) -> None:
    """Leave out what later changes superseded, where that is worth it."""
    last = Compaction(change for _, change in log.read())
    if last.superseded > max(_FEW_SUPERSEDED, len(last)):
        log.rewrite(last.changes())
        _log.info("log of changes compacted", kept=len(last), dropped=last.superseded)
