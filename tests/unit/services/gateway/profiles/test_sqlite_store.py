"""What the SQLite file of the profiles does beyond the port's contract."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from services.gateway.profiles.profile_store import Event, EventKind, ProfileStoreUnavailable
from services.gateway.profiles.sqlite_schema import SCHEMA_VERSION, BadProfileStore
from services.gateway.profiles.sqlite_store import SqliteProfileStore

_RECORDER = """
import asyncio, sys
from pathlib import Path
from services.gateway.profiles import Event, EventKind
from services.gateway.sqlite_profiles import SqliteProfiles

async def record(profiles, lane):
    number = 0
    while True:
        ids = [f"{lane}-{number}-a", f"{lane}-{number}-b"]
        await profiles.record([Event(event_id, "ann", EventKind.VIEW, 0, event_id) for event_id in ids])
        print(*ids, flush=True)
        number += 1

async def main():
    profiles = SqliteProfiles(Path(sys.argv[1]))
    await asyncio.gather(*(record(profiles, lane) for lane in range(4)))

asyncio.run(main())
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the profiles are, in a folder that does not exist yet."""
    return tmp_path / "folder" / "profiles.db"


async def _make(file: Path) -> None:
    profiles = SqliteProfileStore(file)
    await profiles.record([Event(f"e{at}", "ann", EventKind.VIEW, at, f"item-{at}") for at in range(500)])
    await profiles.close()


def test_every_acknowledged_event_survives_kill_9(file: Path):
    """A process killed while it records loses nothing that it acknowledged, and no call is recorded by half."""
    process = subprocess.Popen([sys.executable, "-c", _RECORDER, str(file)], stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(60)]
    process.kill()
    acknowledged += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    whole_lines = [line.split() for line in acknowledged if line.endswith("\n")]
    kept = asyncio.run(_history(file))
    assert {event_id for ids in whole_lines for event_id in ids} <= kept
    assert {event_id[:-1] for event_id in kept if event_id.endswith("a")} == {
        event_id[:-1] for event_id in kept if event_id.endswith("b")
    }


async def test_forgetting_leaves_no_trace_in_the_files(file: Path):
    """After forgetting, no byte of the user's ids, items or queries is in the file or its write-ahead log.

    Times at random make SQLite split pages of the indexes, which leaves copies that deletion alone does not clear.
    """
    numbers = random.Random(1)
    profiles = SqliteProfileStore(file)
    for batch in range(40):
        users = [numbers.choice(["SECRET", "other"]) for _ in range(100)]
        await profiles.record([_random_event(f"{batch}-{at}", who, numbers) for at, who in enumerate(users)])
    assert b"SECRET" in _bytes(file)
    assert await profiles.forget("SECRET") > 1_000
    assert b"SECRET" not in _bytes(file)
    assert len((await profiles.history("other", 10)).item_ids) == 10
    await profiles.close()


async def test_only_the_kinds_set_are_history(file: Path):
    """Which kinds of event make up a history is the operator's to say."""
    profiles = SqliteProfileStore(file, [EventKind.PURCHASE])
    await profiles.record([Event("1", "ann", EventKind.VIEW, 0, "seen"), Event("2", "ann", EventKind.PURCHASE, 0, "b")])
    assert list((await profiles.history("ann", 10)).item_ids) == ["b"]
    await profiles.close()


def test_a_damaged_file_is_refused(file: Path):
    """A file with a page of rubbish is not opened, and the message names it and says what to do."""
    asyncio.run(_make(file))
    content = bytearray(file.read_bytes())
    content[4_096:8_192] = b"\x55" * 4_096
    file.write_bytes(content)
    with pytest.raises(BadProfileStore, match=r"profiles\.db.*restore"):
        SqliteProfileStore(file)


def test_a_file_that_is_no_database_is_refused(file: Path):
    """Any other file is refused and left as it is."""
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
    """A file of a later schema version is refused with both versions named."""
    asyncio.run(_make(file))
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(BadProfileStore, match=f"version {SCHEMA_VERSION + 1}.*up to {SCHEMA_VERSION}"):
        SqliteProfileStore(file)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path):
    """Where no file can be made the message says so."""
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(BadProfileStore, match="name another one"):
        SqliteProfileStore(tmp_path / "taken" / "profiles.db")


async def test_a_store_that_breaks_while_it_runs_is_unavailable(file: Path):
    """Reading and writing fail with ProfilesUnavailable once the table is gone."""
    profiles = SqliteProfileStore(file)
    connection = sqlite3.connect(file)
    connection.execute("DROP TABLE events")
    connection.close()
    with pytest.raises(ProfileStoreUnavailable, match="cannot be read"):
        await profiles.history("ann", 10)
    with pytest.raises(ProfileStoreUnavailable, match="cannot be written"):
        await profiles.record([Event("1", "ann", EventKind.VIEW, 0, "milk")])
    await profiles.close()


async def test_a_caller_who_leaves_harms_no_other(file: Path):
    """A cancelled call takes nothing away from the calls beside it."""
    profiles = SqliteProfileStore(file)
    calls = [
        asyncio.create_task(profiles.record([Event(f"{at}", "ann", EventKind.VIEW, at, f"i{at}")])) for at in range(20)
    ]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert {f"i{at}" for at in range(1, 20, 2)} <= set((await profiles.history("ann", 100)).item_ids)
    await profiles.close()


async def _history(file: Path) -> set[str]:
    profiles = SqliteProfileStore(file)
    kept = set((await profiles.history("ann", 100_000)).item_ids)
    await profiles.close()
    return kept


def _random_event(event_id: str, who: str, numbers: random.Random) -> Event:
    kind = numbers.choice([EventKind.VIEW, EventKind.SEARCH])
    return Event(f"{who}-{event_id}", who, kind, numbers.randrange(10**9), f"item {who}", f"query {who}")


def _bytes(file: Path) -> bytes:
    return b"".join(part.read_bytes() for part in file.parent.iterdir())
