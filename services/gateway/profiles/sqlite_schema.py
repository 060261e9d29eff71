"""The SQLite file of the profiles: schema, version, and checks when it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from services.gateway.profiles.profile_store import BadProfileStore, Document
from services.gateway.profiles.pseudonyms import Pseudonyms, read_key, read_or_make_key

SCHEMA_VERSION: Final = 2

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
CREATE TABLE pseudonyms (key_check TEXT NOT NULL, is_scrubbed INTEGER NOT NULL) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

# Made in files of every version: earlier servers read no other table than theirs.
_DOCUMENTS: Final = """
CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, version INTEGER NOT NULL, content BLOB NOT NULL) STRICT
"""

# From version 1, which stored the ids as they were given, to version 2.
_MIGRATION: Final = """
BEGIN EXCLUSIVE;
UPDATE events SET user_id = pseudonym_of_user(user_id), event_id = pseudonym_of_event(event_id);
CREATE TABLE pseudonyms (key_check TEXT NOT NULL, is_scrubbed INTEGER NOT NULL) STRICT;
INSERT INTO pseudonyms VALUES (key_check(), 0);
PRAGMA user_version = 2;
COMMIT;
"""


def open_for_writing(file: Path, key_file: Path) -> tuple[sqlite3.Connection, Pseudonyms]:
    """Open or create the file of profiles and its key, and check all of it.

    A file of version 1 gets pseudonyms in place of its ids, and is rewritten so that no id is left in it.

    Raises:
        BadProfileStore: It is damaged, belongs to another program or key, is newer than this version, or cannot be
            opened.
        BadPseudonymKey: The key cannot be read or made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        connection = connect(file)
        try:
            _check(connection, file)
            pseudonyms = _set_up(connection, file, key_file)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise BadProfileStore(
            f"the profiles in {file} cannot be opened: {error}; restore the file, or name another one"
        ) from error
    return connection, pseudonyms


def connect(file: Path) -> sqlite3.Connection:
    """Open a connection in autocommit mode; any thread may use it, one at a time."""
    return sqlite3.connect(file, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def read_document(connection: sqlite3.Connection, name: str) -> Document:
    """Return a document, version 0 if there is none."""
    row = connection.execute("SELECT version, content FROM documents WHERE name = ?", (name,)).fetchone()
    return Document(*row) if row else Document()


def write_document(connection: sqlite3.Connection, name: str, content: bytes, expected_version: int) -> int | None:
    """Replace a document that has the expected version; returns its new version, None if it has another."""
    if read_document(connection, name).version != expected_version:
        return None
    connection.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (name, expected_version + 1, content))
    return expected_version + 1


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


def _set_up(connection: sqlite3.Connection, file: Path, key_file: Path) -> Pseudonyms:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    is_empty, version = _is_empty(connection), _pragma(connection, "user_version")
    # A store that has pseudonyms is lost without their key; making another one would hide that.
    pseudonyms = read_or_make_key(key_file) if is_empty or version == 1 else read_key(key_file)
    if is_empty:
        connection.executescript(_SCHEMA)
        connection.execute("INSERT INTO pseudonyms VALUES (?, 1)", (pseudonyms.key_check(),))
    elif version == 1:
        connection.create_function("pseudonym_of_user", 1, pseudonyms.of_user, deterministic=True)
        connection.create_function("pseudonym_of_event", 1, pseudonyms.of_event, deterministic=True)
        connection.create_function("key_check", 0, pseudonyms.key_check, deterministic=True)
        connection.executescript(_MIGRATION)
    connection.execute(_DOCUMENTS)
    _check_key(connection, pseudonyms, file, key_file)
    _scrub(connection)
    return pseudonyms


def _check_key(connection: sqlite3.Connection, pseudonyms: Pseudonyms, file: Path, key_file: Path) -> None:
    row = connection.execute("SELECT key_check FROM pseudonyms").fetchone()
    if row is None:  # the process ended right after it made the tables: no event was stored
        connection.execute("INSERT INTO pseudonyms VALUES (?, 1)", (pseudonyms.key_check(),))
    elif row[0] != pseudonyms.key_check():
        raise BadProfileStore(f"{file} was written with another key than that in {key_file}; restore the key")


def _scrub(connection: sqlite3.Connection) -> None:
    """Rewrite a migrated file, whose free pages may still hold ids; again if the process ended before it was done."""
    (is_scrubbed,) = connection.execute("SELECT is_scrubbed FROM pseudonyms").fetchone()
    if not is_scrubbed:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("UPDATE pseudonyms SET is_scrubbed = 1")


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(tables == 0)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
