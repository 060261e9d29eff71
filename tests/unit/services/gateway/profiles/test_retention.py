"""Old events are erased, again and again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from structlog.testing import capture_logs

from services.gateway.profiles.profile_store import Event, EventKind, ProfileStoreUnavailable
from services.gateway.profiles.retention import erase_old_events
from services.gateway.profiles.sqlite_store import SqliteProfileStore


async def test_events_are_erased_by_age(tmp_path: Path):
    """What happened longer ago than the age is erased from every byte, and younger events stay."""
    profiles = SqliteProfileStore(tmp_path / "profiles.db")
    ages_s = {"OLD": 101, "young": 99, "future": -50}
    now_s = 1_000
    events = [Event(name, "ann", EventKind.VIEW, (now_s - age_s) * 1_000_000, name) for name, age_s in ages_s.items()]
    await profiles.record_events(events)
    task = asyncio.create_task(erase_old_events(profiles, 100, interval_s=3_600, now_s=lambda: now_s))
    while len((await profiles.read_profile("ann", 10)).item_ids) == 3:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert list((await profiles.read_profile("ann", 10)).item_ids) == ["young", "future"]
    await profiles.close()
    assert b"OLD" not in _bytes(tmp_path)


def _bytes(folder: Path) -> bytes:
    return b"".join(part.read_bytes() for part in folder.iterdir())


class _Failing:
    """A store that fails once."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.twice = asyncio.Event()

    async def erase_before(self, occurred_at_us: int) -> int:
        self.calls.append(occurred_at_us)
        if len(self.calls) == 1:
            raise ProfileStoreUnavailable("disk")
        self.twice.set()
        return 2


async def test_a_failure_is_logged_and_tried_again():
    """A store that cannot be written does not end the work."""
    store = _Failing()
    with capture_logs() as logs:
        task = asyncio.create_task(erase_old_events(store, 10, 0, lambda: 100))  # type: ignore[arg-type]  # the one method
        await store.twice.wait()
        await asyncio.sleep(0)  # it logs what was erased
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert store.calls[:2] == [90_000_000, 90_000_000]
    assert [line["log_level"] for line in logs][:2] == ["warning", "info"]
