"""Profiles in one SQLite file: durable before acknowledged, erased when forgotten.

One thread writes while a few read, which WAL mode allows. ``synchronous=FULL`` syncs the log at each commit, so that
acknowledged events also survive a crash of the machine; ``secure_delete`` overwrites deleted rows.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from common.release.event_weights import HISTORY_KINDS, EventKind
from services.gateway.profiles.history import profile_of
from services.gateway.profiles.profile_store import (
    Document,
    Event,
    Profile,
    ProfileStoreUnavailable,
    RecordedCounts,
    Search,
)
from services.gateway.profiles.pseudonyms import Pseudonyms
from services.gateway.profiles.sqlite_schema import connect, open_for_writing, read_document, write_document
from services.gateway.profiles.sqlite_writer import SqliteWriter

_READERS: Final = 2

_INSERT: Final = """
INSERT INTO events (event_id, user_id, kind, item_id, query, value, occurred_at_us) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (event_id) DO NOTHING
"""

_HISTORY: Final = """
SELECT item_id, kind, occurred_at_us FROM events WHERE user_id = ? AND kind IN ({marks})
ORDER BY occurred_at_us DESC, arrival DESC LIMIT ?
"""

_LAST_SEARCH: Final = """
SELECT query, occurred_at_us FROM events WHERE user_id = ? AND kind = 'search'
ORDER BY occurred_at_us DESC, arrival DESC LIMIT 1
"""

ResultT = TypeVar("ResultT")


class SqliteProfileStore:
    """Profiles in a SQLite file.

    Args:
        file: The file; created with its folders if it does not exist.
        kinds: The kinds of event that a history consists of.
        key_file: The key of the pseudonyms that stand for users' and events' ids in the file; made if it does not
            exist. By default, the file's name with `.key`.

    Raises:
        BadProfileStore: The file is damaged, has other content, or was written by a newer version or with another key.
            The whole file is checked, so opening takes time in proportion to its size.
        BadPseudonymKey: The key cannot be read or made.
    """

    def __init__(self, file: Path, kinds: Sequence[EventKind] = HISTORY_KINDS, key_file: Path | None = None) -> None:
        self._file = file
        self._kinds = tuple(kind.word for kind in (*kinds, EventKind.REFUND))
        self._history_sql = _HISTORY.format(marks=", ".join("?" * len(self._kinds)))
        connection, self._pseudonyms = open_for_writing(file, key_file or file.with_name(file.name + ".key"))
        self._writer = SqliteWriter(connection)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="profiles-read")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    async def record_events(self, events: Sequence[Event]) -> RecordedCounts:
        """Record all of the events or none, durably; see ProfileStore."""
        rows = [_row(event, self._pseudonyms) for event in events]
        return await self._write(lambda connection: _insert(connection, rows))

    async def read_profile(self, user_id: str, max_items: int) -> Profile:
        """Return a user's profile; see ProfileStore."""
        loop = asyncio.get_running_loop()
        try:
            pseudonym = self._pseudonyms.of_user(user_id)
            return await loop.run_in_executor(self._readers, self._read, pseudonym, max_items)
        except (sqlite3.Error, RuntimeError) as error:  # RuntimeError: closed
            raise ProfileStoreUnavailable(f"the profiles in {self._file} cannot be read: {error}") from error

    async def forget_user(self, user_id: str) -> int:
        """Erase a user's events from the file and its write-ahead log; see ProfileStore.

        This rewrites the file, in time proportional to its size; writes wait meanwhile, reads do not.
        """
        pseudonym = self._pseudonyms.of_user(user_id)
        return await self._write(lambda connection: _erase(connection, pseudonym), erases=True)

    async def erase_before(self, occurred_at_us: int) -> int:
        """Erase old events like `forget_user`; see ProfileStore. Without any, the file is not rewritten."""
        loop = asyncio.get_running_loop()
        try:
            has_old = await loop.run_in_executor(self._readers, self._has_before, occurred_at_us)
        except (sqlite3.Error, RuntimeError) as error:  # RuntimeError: closed
            raise ProfileStoreUnavailable(f"the profiles in {self._file} cannot be read: {error}") from error
        if not has_old:
            return 0
        return await self._write(lambda connection: _erase_before(connection, occurred_at_us), erases=True)

    async def read_document(self, name: str, known_version: int = -1) -> Document | None:
        """Return a document, None if its version is known; see ProfileStore."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._readers, self._read_document, name)
        except (sqlite3.Error, RuntimeError) as error:  # RuntimeError: closed
            raise ProfileStoreUnavailable(f"{name} in {self._file} cannot be read: {error}") from error
        return None if found.version == known_version else found

    async def write_document(self, name: str, content: bytes, expected_version: int) -> int | None:
        """Replace a document, None if another version is there; see ProfileStore."""
        return await self._write(lambda connection: write_document(connection, name, content, expected_version))

    async def close(self) -> None:
        """Finish the calls in progress and close the file."""
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._connections:
            connection.close()
        await asyncio.to_thread(self._writer.close)

    async def _write(self, change: Callable[[sqlite3.Connection], ResultT], *, erases: bool = False) -> ResultT:
        try:
            return await asyncio.wrap_future(self._writer.submit(change, erases=erases))
        except (sqlite3.Error, RuntimeError) as error:  # RuntimeError: closed
            raise ProfileStoreUnavailable(f"the profiles in {self._file} cannot be written: {error}") from error

    def _read(self, pseudonym: str, max_items: int) -> Profile:
        connection = self._reader()
        rows = connection.execute(self._history_sql, (pseudonym, *self._kinds, max_items)).fetchall()
        search = connection.execute(_LAST_SEARCH, (pseudonym,)).fetchone()
        events = [(item_id, EventKind.from_word(kind), at) for item_id, kind, at in reversed(rows)]
        return profile_of(events, Search(*search) if search else None)

    def _read_document(self, name: str) -> Document:
        return read_document(self._reader(), name)

    def _has_before(self, occurred_at_us: int) -> bool:
        found = self._reader().execute("SELECT 1 FROM events WHERE occurred_at_us < ? LIMIT 1", (occurred_at_us,))
        return found.fetchone() is not None

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        if not hasattr(self._local, "connection"):
            connection = connect(self._file)
            connection.execute("PRAGMA query_only = ON")
            self._connections.append(connection)
            self._local.connection = connection
        own: sqlite3.Connection = self._local.connection
        return own


def _row(event: Event, pseudonyms: Pseudonyms) -> tuple[Any, ...]:
    return (
        pseudonyms.of_event(event.event_id),
        pseudonyms.of_user(event.user_id),
        event.kind.word,
        event.item_id,
        event.query,
        event.value,
        event.occurred_at_us,
    )


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> RecordedCounts:
    recorded = max(0, connection.executemany(_INSERT, rows).rowcount)
    return RecordedCounts(recorded, len(rows) - recorded)


def _erase(connection: sqlite3.Connection, pseudonym: str) -> int:
    return connection.execute("DELETE FROM events WHERE user_id = ?", (pseudonym,)).rowcount


def _erase_before(connection: sqlite3.Connection, occurred_at_us: int) -> int:
    return connection.execute("DELETE FROM events WHERE occurred_at_us < ?", (occurred_at_us,)).rowcount
