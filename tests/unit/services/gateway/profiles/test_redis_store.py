"""Profiles in Redis: round trips, durability, erasure and several gateways. The contract is in tests/contract."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from common.release.event_weights import EventKind
from services.gateway.profiles.profile_store import BadProfileStore, Event, ProfileStoreUnavailable
from services.gateway.profiles.pseudonyms import BadPseudonymKey, read_key
from services.gateway.profiles.redis_address import RedisAddress
from services.gateway.profiles.redis_store import RedisProfileStore
from testing.redis_server import RedisServer

Open = Callable[..., RedisProfileStore]


@pytest.fixture
async def open_store(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Open]:
    """Return a function that opens the profiles, by options of the address and a key."""
    opened: list[RedisProfileStore] = []

    def opening(options: str = "", key: str = "key") -> RedisProfileStore:
        address = RedisAddress.parse(f"redis://127.0.0.1:{redis.port}/0?{options}")
        opened.append(RedisProfileStore(address, tmp_path / key))
        return opened[-1]

    yield opening
    for store in opened:
        await store.close()


@pytest.fixture
def configured(redis: RedisServer) -> Any:
    """Return a function that sets options of Redis until the end of the test."""
    before: dict[str, Any] = {}

    def configure(**options: str) -> None:
        for name, value in options.items():
            option = name.replace("_", "-")
            before.setdefault(option, redis.client.config_get(option)[option])
            redis.client.config_set(option, value)

    yield configure
    for name, value in before.items():
        redis.client.config_set(name, value)


def view(event_id: str, user_id: str = "ann", at: int = 0) -> Event:
    """Return an event."""
    return Event(event_id, user_id, EventKind.VIEW, at, f"item-{event_id}")


async def test_reading_a_profile_is_one_round_trip(open_store: Open, redis: RedisServer):
    """And so is recording events."""
    store = open_store()
    await store.record_events([view("1"), Event("2", "ann", EventKind.SEARCH, 0, query="tea")])

    def reads() -> int:
        return int(redis.client.info("stats")["total_reads_processed"])

    before = reads()
    for n in range(20):
        await store.read_profile("ann", 100)
        await store.record_events([view(f"more-{n}")])
    assert reads() - before == 40 + 1


async def test_gateways_share_profiles(open_store: Open):
    """What one records another reads, and counts as known."""
    one, other = open_store(), open_store()
    await one.record_events([view("1")])
    assert list((await other.read_profile("ann", 10)).item_ids) == ["item-1"]
    assert await other.record_events([view("1"), view("2")]) == (1, 1)
    assert await other.forget_user("ann") == 2
    assert not (await one.read_profile("ann", 10)).item_ids


async def test_nothing_acknowledged_is_lost(open_store: Open, redis: RedisServer):
    """Redis is killed while events are recorded; afterwards each acknowledged one is there."""
    store = open_store()
    acknowledged: list[str] = []
    enough = asyncio.Event()

    async def record(writer: int) -> None:
        for n in range(10_000):
            try:
                await store.record_events([view(f"{writer}-{n}", f"user-{writer}", n)])
            except ProfileStoreUnavailable:
                return
            acknowledged.append(f"{writer}-{n}")
            if len(acknowledged) >= 200:
                enough.set()

    writers = [asyncio.create_task(record(writer)) for writer in range(8)]
    await asyncio.wait_for(enough.wait(), 60)
    redis.signal(signal.SIGKILL)
    await asyncio.gather(*writers)
    await asyncio.to_thread(redis.start)
    found = {item for writer in range(8) for item in (await store.read_profile(f"user-{writer}", 10_000)).item_ids}
    assert {f"item-{event_id}" for event_id in acknowledged} <= found


async def test_redis_that_would_lose_events_is_refused(open_store: Open, configured: Any):
    """The message says what to set; the address can accept less."""
    configured(appendfsync="everysec", maxmemory_policy="allkeys-lru")
    with pytest.raises(BadProfileStore, match=r"appendfsync is everysec.*maxmemory-policy is allkeys-lru"):
        await open_store().open()
    await open_store("durability=unchecked").open()
    configured(maxmemory_policy="noeviction")
    with pytest.raises(BadProfileStore, match="appendfsync"):
        await open_store().open()
    await open_store("durability=everysec").open()
    configured(appendfsync="no")
    with pytest.raises(BadProfileStore, match="appendfsync is no"):
        await open_store("durability=everysec").open()


async def test_events_that_no_replica_has_are_not_acknowledged(open_store: Open):
    """If the address asks for replicas and there are none."""
    with pytest.raises(ProfileStoreUnavailable, match="only 0 of 1 replicas"):
        await open_store("wait=1").record_events([view("1")])


async def test_all_gateways_need_the_same_key(open_store: Open, tmp_path: Path):
    """Another key is refused, and none is made for profiles that have one."""
    await open_store().record_events([view("1")])
    with pytest.raises(BadPseudonymKey, match="cannot be read"):
        await open_store(key="missing").open()
    (tmp_path / "other").write_text("ab" * 32)
    with pytest.raises(BadProfileStore, match="another key"):
        await open_store(key="other").open()


async def test_a_forgotten_user_leaves_no_trace(open_store: Open, redis: RedisServer, tmp_path: Path):
    """Neither in memory nor in the files; others stay. Old events are erased in the same way."""
    store = open_store()
    for n in range(50):
        await store.record_events([view(f"a{n}", "ann", n), view(f"b{n}", "bob", 1_000 + n)])
    key = read_key(tmp_path / "key")
    folder = Path(redis.client.config_get("dir")["dir"])

    def files() -> bytes:
        return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())

    ann, bob = (key.of_user(name).encode() for name in ("ann", "bob"))
    assert ann in files()
    assert await store.forget_user("ann") == 50
    assert ann not in files()
    assert b"item-a7" not in files()
    assert bob in files()
    assert not [name for name in redis.client.scan_iter() if ann in name]
    assert redis.client.zscore("shortlist-profiles:oldest", ann) is None
    assert await store.erase_before(1_050) == 50
    assert bob not in files()
    assert {name.decode() for name in redis.client.scan_iter()} == {
        "shortlist-profiles:arrival",
        "shortlist-profiles:key",
    }


async def test_erasing_looks_at_no_user_without_old_events(open_store: Open, redis: RedisServer):
    """The time of the oldest event is kept, also after an older one arrives late and after a partial erasure."""
    store = open_store()
    await store.record_events([view("1", at=50), view("2", at=10), view("3", at=30)])
    assert [score for _, score in redis.client.zrange("shortlist-profiles:oldest", 0, -1, withscores=True)] == [10]
    assert await store.erase_before(20) == 1
    assert [score for _, score in redis.client.zrange("shortlist-profiles:oldest", 0, -1, withscores=True)] == [30]


async def test_a_cancelled_read_harms_no_other(open_store: Open):
    """Its connection is not used again with an answer that nobody waits for."""
    store = open_store()
    await store.record_events([view("a", "ann"), view("b", "bob")])
    for _ in range(50):
        reading = asyncio.create_task(store.read_profile("ann", 10))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        assert list((await store.read_profile("bob", 10)).item_ids) == ["item-b"]


async def test_redis_that_is_gone_is_unavailable(open_store: Open, redis: RedisServer):
    """And is used again when it is back."""
    store = open_store()
    await store.record_events([view("1")])
    redis.signal(signal.SIGKILL)
    for call in (
        store.read_profile("ann", 10),
        store.record_events([view("2")]),
        store.forget_user("ann"),
        store.ping(),
    ):
        with pytest.raises(ProfileStoreUnavailable, match=f"127.0.0.1:{redis.port}"):
            await call
    await asyncio.to_thread(redis.start)
    assert list((await store.read_profile("ann", 10)).item_ids) == ["item-1"]
