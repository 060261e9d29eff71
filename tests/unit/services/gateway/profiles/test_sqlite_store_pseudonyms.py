"""What the file of profiles holds in place of users' ids."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from services.gateway.profiles.profile_store import BadProfileStore, Event, EventKind
from services.gateway.profiles.pseudonyms import BadPseudonymKey
from services.gateway.profiles.sqlite_schema import APPLICATION_ID
from services.gateway.profiles.sqlite_store import SqliteProfileStore

# As version 1 made it.
VERSION_1 = f"""
CREATE TABLE events (
    arrival INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL, kind TEXT NOT NULL,
    item_id TEXT NOT NULL, query TEXT NOT NULL, value REAL, occurred_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_user ON events (user_id, occurred_at_us);
CREATE INDEX searches_by_user ON events (user_id, occurred_at_us) WHERE kind = 'search';
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of a store."""
    return tmp_path / "profiles.db"


def _events(user: str, count: int) -> list[Event]:
    return [Event(f"{user}-{at}", user, EventKind.VIEW, at, f"item-{at}") for at in range(count)]


def _write_version_1(file: Path, users: int, events: int) -> None:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(VERSION_1)
    rows = [
        (f"USER-{user}-{at}", f"USER-{user}", "view", f"item-{at}", "", None, at)
        for at in range(events)
        for user in range(users)
    ]
    insert = (
        "INSERT INTO events (event_id, user_id, kind, item_id, query, value, occurred_at_us) VALUES (?,?,?,?,?,?,?)"
    )
    connection.executemany(insert, rows)
    connection.commit()
    connection.close()


def _bytes(file: Path) -> bytes:
    return b"".join(part.read_bytes() for part in file.parent.iterdir())


async def test_no_id_of_a_user_or_an_event_is_stored(file: Path):
    """Neither the file, its log nor its key holds the ids, and the profile is found by them."""
    profiles = SqliteProfileStore(file)
    await profiles.record_events(_events("ANN@SHOP", 50))
    assert b"ANN@SHOP" not in _bytes(file)
    assert b"item-7" in _bytes(file)
    assert len((await profiles.read_profile("ANN@SHOP", 100)).item_ids) == 50
    assert await profiles.record_events(_events("ANN@SHOP", 51)) == (1, 50)
    await profiles.close()


async def test_a_file_of_version_1_gets_pseudonyms(file: Path):
    """Profiles and known event ids are the same after the migration, and no id is left in any byte."""
    _write_version_1(file, users=20, events=100)
    assert b"USER-7" in _bytes(file)
    profiles = SqliteProfileStore(file)
    assert b"USER-" not in _bytes(file)
    for user in range(20):
        history = (await profiles.read_profile(f"USER-{user}", 1_000)).item_ids
        assert list(history) == [f"item-{at}" for at in range(100)]
    assert await profiles.record_events([Event("USER-3-5", "USER-3", EventKind.VIEW, 0, "x")]) == (0, 1)
    assert await profiles.forget_user("USER-3") == 100
    await profiles.close()
    again = SqliteProfileStore(file)
    assert len((await again.read_profile("USER-4", 1_000)).item_ids) == 100
    await again.close()


async def test_a_migration_cut_off_before_the_end_is_finished(file: Path):
    """If the process ended before the file was rewritten, the next start rewrites it."""
    _write_version_1(file, users=5, events=100)
    await SqliteProfileStore(file).close()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE leftover (text TEXT)")
    connection.execute("INSERT INTO leftover VALUES (?)", ("USER-7" * 50,))
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("DROP TABLE leftover")
    connection.execute("UPDATE pseudonyms SET is_scrubbed = 0")
    connection.commit()
    connection.close()
    assert b"USER-7" in _bytes(file)
    await SqliteProfileStore(file).close()
    assert b"USER-7" not in _bytes(file)


async def test_a_store_without_its_key_is_refused(file: Path):
    """Without the key a store does not open, and no other key is made; with it, it opens again."""
    await SqliteProfileStore(file).close()
    key = file.with_name("profiles.db.key")
    kept = key.read_text()
    key.unlink()
    with pytest.raises(BadPseudonymKey, match=r"profiles\.db\.key.*restore"):
        SqliteProfileStore(file)
    assert not key.exists()
    key.write_text("ab" * 32)
    with pytest.raises(BadProfileStore, match="written with another key"):
        SqliteProfileStore(file)
    key.write_text(kept)
    await SqliteProfileStore(file).close()


async def test_the_key_may_be_kept_elsewhere(file: Path, tmp_path: Path):
    """A given file has the key, and none is made next to the store."""
    (tmp_path / "secrets").mkdir()
    profiles = SqliteProfileStore(file, key_file=tmp_path / "secrets" / "key")
    await profiles.close()
    assert (tmp_path / "secrets" / "key").exists()
    assert not file.with_name("profiles.db.key").exists()
