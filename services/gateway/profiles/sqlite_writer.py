"""The only writer of a SQLite file: commits waiting changes as one group, each change all or nothing."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

# Bounds how long the first change of a group waits for the last.
_MAX_GROUP: Final = 256
ResultT = TypeVar("ResultT")


@dataclass
class _Change:
    """One caller's change with its outcome; with ``erases``, deleted rows must be gone before it is done."""

    apply: Callable[[sqlite3.Connection], Any]
    erases: bool
    result: Any = None
    error: Exception | None = None
    done: Future[Any] = field(default_factory=Future)

    def resolve(self) -> None:
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


class SqliteWriter:
    """Applies changes in one thread, in order; a future is done only when its change is on the disk.

    Args:
        connection: A connection in autocommit mode, usable from any thread; the writer closes it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: deque[_Change] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="profiles-write")

    def submit(self, apply: Callable[[sqlite3.Connection], ResultT], *, erases: bool = False) -> Future[ResultT]:
        """Apply a change durably; with ``erases``, no trace of deleted rows is left in the files.

        The future fails with the error of ``apply`` (that change alone is undone), or with sqlite3.Error if the file
        cannot be written.

        Raises:
            RuntimeError: The writer is closed.
        """
        change = _Change(apply, erases)
        self._waiting.append(change)
        self._thread.submit(self._write_waiting)
        return change.done

    def close(self) -> None:
        """Finish all submitted changes, then close the connection."""
        self._thread.shutdown()
        self._connection.close()

    def _write_waiting(self) -> None:
        """Commit the waiting changes as one group; none may be left if an earlier group included this one."""
        taken = [self._waiting.popleft() for _ in range(min(_MAX_GROUP, len(self._waiting)))]
        group = [change for change in taken if change.done.set_running_or_notify_cancel()]
        if group:
            self._commit(group)
            self._erase([change for change in group if change.erases and change.error is None])
        for change in group:
            change.resolve()

    def _commit(self, group: list[_Change]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for change in group:
                self._apply(change)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for change in group:
                change.error = change.error or error

    def _apply(self, change: _Change) -> None:
        self._connection.execute("SAVEPOINT change")
        try:
            change.result = change.apply(self._connection)
        except Exception as error:  # noqa: BLE001 - passed on to the submitter
            change.error = error
            self._connection.execute("ROLLBACK TO change")
        self._connection.execute("RELEASE change")

    def _erase(self, changes: list[_Change]) -> None:
        """Rewrite the file and empty its log, once for all changes; takes time in proportion to the file.

        ``secure_delete`` alone is not enough: when SQLite splits a page of an index, it leaves copies of the moved
        entries in the unused part of the old page, which only VACUUM clears.
        """
        if not changes:
            return
        error = self._rewrite()
        for change in changes:
            change.error = error

    def _rewrite(self) -> sqlite3.Error | None:
        try:
            self._connection.execute("VACUUM")
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            return error
        return sqlite3.OperationalError("a reader still uses the write-ahead log; try again") if busy else None
