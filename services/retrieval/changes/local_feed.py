"""The change feed of a single server: a write-ahead log on its disk."""

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

MAX_SUPERSEDED: Final = 1_000
_log = structlog.get_logger()


class LocalFeed:
    """Implements `ChangeFeed` with one writer and a write-ahead log.

    At start the log is compacted if more than ``max_superseded`` of its operations are superseded, and more than are
    not.

    Args:
        folder: The folder of the log. None refuses changes, since they would be lost in a crash.
        max_superseded: How many superseded operations are kept at least.

    Raises:
        NotReady: The log can't be used; see `WriteAheadLog`.
    """

    def __init__(self, folder: Path | None, max_superseded: int = MAX_SUPERSEDED) -> None:
        self._log = None if folder is None else WriteAheadLog(folder)
        self._writer = threading.Lock()
        self._listeners: list[ChangeListener] = []
        if self._log is not None:
            _compact(self._log, max_superseded)

    def subscribe(self, listener: ChangeListener) -> int:
        """See `ChangeFeed.subscribe`."""
        count, position = 0, 0
        if self._log is not None:  # most of the log is read without blocking writers
            count, position = _replay(self._log.read(), listener)
        with self._writer:
            if self._log is not None:
                count += _replay(self._log.read(position), listener)[0]
            self._listeners.append(listener)
        return count

    def unsubscribe(self, listener: ChangeListener) -> None:
        """See `ChangeFeed.unsubscribe`."""
        with self._writer:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def commit(self, change: Change, listener: ChangeListener) -> ChangeCounts:
        """See `ChangeFeed.commit`.

        Raises:
            NotReady: The change can't be stored; nothing was changed.
        """
        if self._log is None:
            raise NotReady(
                "changes of the catalogue would be lost in a crash; start the server with --data-dir or --change-stream"
            )
        with self._writer:
            self._log.append(change)
            counts = [(each, each.apply(change)) for each in self._listeners]
        return next(count for each, count in counts if each is listener)

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()


def _replay(changes: Iterable[tuple[int, Change]], listener: ChangeListener) -> tuple[int, int]:
    """Apply changes; returns how many, and the position where the last one ends."""
    count, position = 0, 0
    for position, change in changes:  # noqa: B007 - the last position is the result
        listener.apply(change)
        count += 1
    return count, position


def _compact(log: WriteAheadLog, max_superseded: int) -> None:
    """Rewrite the log without superseded operations, if these are many and the larger part."""
    compaction = Compaction(change for _, change in log.read())
    if compaction.superseded > max(max_superseded, len(compaction)):
        log.rewrite(compaction.changes())
        _log.info("write-ahead log compacted", kept=len(compaction), dropped=compaction.superseded)
