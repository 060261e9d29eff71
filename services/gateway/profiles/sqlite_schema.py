"""The SQLite file of the profiles: schema, version, and checks when it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from common.errors import ShortlistError

SCHEMA_VERSION: Final = 1

# "SLPR": distinguishes our files from other programs'.
APPLICATION_ID: Final = 0x534C5052
_BUSY_TIMEOUT_S: Final = 5.0

_SCHEMA: Final = f"""
BEGIN EXCLUSIVE;
CREATE TABLE events (
    arrival INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    item_id TEXT NOT NULL,
    query TEXT NOT NULL,
    value REAL,
    occurred_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_user ON events (user_id, occurred_at_us);
CREATE INDEX searches_by_user ON events (user_id, occurred_at_us) WHERE kind = 'search';
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


class BadProfileStore(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """A file that is damaged, has no profiles, or was written by a newer version; the message names it."""

    status = "FAILED_PRECONDITION"


def open_for_writing(file: Path) -> sqlite3.Connection:
    """Open or create the file of profiles, and check all of it.

    Raises:
        BadProfileStore: It is damaged, belongs to another program, is newer than this version, or cannot be opened.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        connection = connect(file)
        try:
            _check(connection, file)
            _set_up(connection)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise BadProfileStore(
            f"the profiles in {file} cannot be opened: {error}; restore the file, or name another one"
        ) from error
    return connection


def connect(file: Path) -> sqlite3.Connection:
    """Open a connection in autocommit mode; any thread may use it, one at a time."""
    return sqlite3.connect(file, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def _check(connection: sqlite3.Connection, file: Path) -> None:
    """Refuse another program's file before anything is written to it."""
    application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if application != APPLICATION_ID and not _is_empty(connection):
        raise BadProfileStore(f"{file} is another program's database; name another file for the profiles")
    if version > SCHEMA_VERSION:
        raise BadProfileStore(
            f"{file} has schema version {version}, this server reads up to {SCHEMA_VERSION}; run the newer version"
        )
    (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if state != "ok":
        fault = state.splitlines()[-1]
        raise BadProfileStore(f"{file} is damaged: {fault}; restore it, or name another file for the profiles")


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    if _is_empty(connection):
        connection.executescript(_SCHEMA)


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(tables == 0)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
