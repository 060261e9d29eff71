"""The profile store in SQLite, beyond the contract of the port."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from common.release.event_weights import EventKind
from services.gateway.profiles.profile_store import BadProfileStore, Event, ProfileStoreUnavailable
from services.gateway.profiles.sqlite_schema import SCHEMA_VERSION
from services.gateway.profiles.sqlite_store import SqliteProfileStore


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of a profile store, in a folder that does not exist yet."""
    return tmp_path / "folder" / "profiles.db"


async def _create(file: Path) -> None:
    profiles = SqliteProfileStore(file)
    await profiles.record_events([Event(f"e{at}", "ann", EventKind.VIEW, at, f"item-{at}") for at in range(500)])
    await profiles.close()


def test_every_acknowledged_event_survives_kill_9(file: Path):
    """A process killed while it records keeps every acknowledged event, and no call is recorded in part."""
    command = [sys.executable, "-m", "testing.event_recorder", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(60)]
    process.kill()
    acknowledged += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    whole_lines = [line.split() for line in acknowledged if line.endswith("\n")]
    kept = asyncio.run(_history(file))
    assert len(whole_lines) >= 60
    assert {event_id for ids in whole_lines for event_id in ids} <= kept
    assert {event_id[:-1] for event_id in kept if event_id.endswith("a")} == {
        event_id[:-1] for event_id in kept if event_id.endswith("b")
    }


async def test_forgetting_leaves_no_trace_in_the_files(file: Path):
    """After forgetting, no byte of the user's ids, items or queries is in the file or its write-ahead log.

    Random times make SQLite split pages of the indexes, which leaves copies that deletion alone does not erase.
    """
    numbers = random.Random(1)
    profiles = SqliteProfileStore(file)
    for batch in range(40):
        users = [numbers.choice(["SECRET", "other"]) for _ in range(100)]
        await profiles.record_events([_random_event(f"{batch}-{at}", who, numbers) for at, who in enumerate(users)])
    assert b"SECRET" in _bytes(file)
    assert await profiles.forget_user("SECRET") > 1_000
    assert b"SECRET" not in _bytes(file)
    assert len((await profiles.read_profile("other", 10)).item_ids) == 10
    await profiles.close()


async def test_only_the_configured_kinds_are_history(file: Path):
    """A history consists of the configured kinds of event only."""
    profiles = SqliteProfileStore(file, [EventKind.PURCHASE])
    await profiles.record_events(
        [Event("1", "ann", EventKind.VIEW, 0, "seen"), Event("2", "ann", EventKind.PURCHASE, 0, "b")]
    )
    assert list((await profiles.read_profile("ann", 10)).item_ids) == ["b"]
    await profiles.close()


def test_a_damaged_file_is_refused(file: Path):
    """A file with a damaged page is refused with a message that names it and what to do."""
    asyncio.run(_create(file))
    content = bytearray(file.read_bytes())
    content[4_096:8_192] = b"\x55" * 4_096
    file.write_bytes(content)
    with pytest.raises(BadProfileStore, match=r"profiles\.db.*restore"):
        SqliteProfileStore(file)


def test_a_file_that_is_not_a_database_is_refused(file: Path):
    """Any other file is refused and left unchanged."""
    file.parent.mkdir()
    file.write_bytes(b"users and what they did" * 100)
    with pytest.raises(BadProfileStore, match=r"profiles\.db cannot be opened"):
        SqliteProfileStore(file)
    assert file.read_bytes() == b"users and what they did" * 100


def test_another_programs_database_is_refused(file: Path):
    """A SQLite file with other tables is refused, and nothing is written to it."""
    file.parent.mkdir()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE diary (entry TEXT)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(BadProfileStore, match="another program's database"):
        SqliteProfileStore(file)
    assert file.read_bytes() == before


def test_a_newer_file_is_refused(file: Path):
    """A file of a later schema version is refused with both versions in the message."""
    asyncio.run(_create(file))
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(BadProfileStore, match=f"version {SCHEMA_VERSION + 1}.*up to {SCHEMA_VERSION}"):
        SqliteProfileStore(file)


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path):
    """A path where no file can be created is refused with what to do."""
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(BadProfileStore, match="name another one"):
        SqliteProfileStore(tmp_path / "taken" / "profiles.db")


async def test_a_store_that_breaks_while_it_runs_is_unavailable(file: Path):
    """Reading and writing raise ProfileStoreUnavailable once the table is gone."""
    profiles = SqliteProfileStore(file)
    connection = sqlite3.connect(file)
    connection.execute("DROP TABLE events")
    connection.close()
    with pytest.raises(ProfileStoreUnavailable, match="cannot be read"):
        await profiles.read_profile("ann", 10)
    with pytest.raises(ProfileStoreUnavailable, match="cannot be written"):
        await profiles.record_events([Event("1", "ann", EventKind.VIEW, 0, "milk")])
    await profiles.close()


async def test_a_cancelled_call_affects_no_other(file: Path):
    """Cancelling a call does not affect concurrent calls."""
    profiles = SqliteProfileStore(file)
    calls = [
        asyncio.create_task(profiles.record_events([Event(f"{at}", "ann", EventKind.VIEW, at, f"i{at}")]))
        for at in range(20)
    ]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert {f"i{at}" for at in range(1, 20, 2)} <= set((await profiles.read_profile("ann", 100)).item_ids)
    await profiles.close()


async def _history(file: Path) -> set[str]:
    profiles = SqliteProfileStore(file)
    kept = set((await profiles.read_profile("ann", 100_000)).item_ids)
    await profiles.close()
    return kept


def _random_event(event_id: str, who: str, numbers: random.Random) -> Event:
    kind = numbers.choice([EventKind.VIEW, EventKind.SEARCH])
    return Event(f"{who}-{event_id}", who, kind, numbers.randrange(10**9), f"item {who}", f"query {who}")


def _bytes(file: Path) -> bytes:
    return b"".join(part.read_bytes() for part in file.parent.iterdir())
