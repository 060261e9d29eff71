"""A profile store behind a circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from common.release.event_weights import EventKind
from services.gateway.backends.guarded_profiles import GuardedProfiles
from services.gateway.backends.replicas.circuit_breaker import BreakerOptions, BreakerState
from services.gateway.profiles.profile_store import Event, Profile, ProfileStoreUnavailable, RecordedCounts


class Store:
    """A store that fails, hangs or answers."""

    def __init__(self) -> None:
        self.fails = self.hangs = self.closed = False
        self.calls = 0

    async def meet(self) -> None:
        """Do what the test wants."""
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise ProfileStoreUnavailable("down")

    async def record_events(self, events: Sequence[Event]) -> RecordedCounts:
        """Record nothing."""
        await self.meet()
        return RecordedCounts(len(events), 0)

    async def read_profile(self, user_id: str, max_items: int) -> Profile:
        """Return a profile with the arguments."""
        await self.meet()
        return Profile([user_id] * max_items)

    async def forget_user(self, user_id: str) -> int:
        """Erase nothing."""
        await self.meet()
        return len(user_id)

    async def erase_before(self, occurred_at_us: int) -> int:
        """Erase nothing."""
        await self.meet()
        return occurred_at_us

    async def ping(self) -> None:
        """Answer, or fail."""
        if self.fails or self.hangs:
            raise ProfileStoreUnavailable("down")

    async def close(self) -> None:
        """Note it."""
        self.closed = True


@pytest.fixture
def store() -> Store:
    """Return a store that answers."""
    return Store()


async def test_calls_reach_the_store(store: Store):
    """With their arguments, and their answers come back."""
    guarded = GuardedProfiles(store, "here")
    assert (await guarded.read_profile("ann", 2)).item_ids == ["ann", "ann"]
    assert await guarded.record_events([Event("1", "ann", EventKind.VIEW, 0, "milk")]) == (1, 0)
    assert (await guarded.forget_user("ann"), await guarded.erase_before(7)) == (3, 7)
    await guarded.close()
    assert store.closed


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_store_that_does_not_answer_is_left_alone_until_it_does(store: Store, hangs: bool):
    """After some failures or timeouts no call reaches it; a probe that is answered lets a trial call through."""
    seen: list[bool] = []
    guarded = GuardedProfiles(store, "here", BreakerOptions(failures=3, min_wait_s=0), seen.append)
    store.fails, store.hangs = not hangs, hangs
    for _ in range(3):
        with pytest.raises((ProfileStoreUnavailable, TimeoutError)):
            await asyncio.wait_for(guarded.read_profile("ann", 1), 0.01)
    with pytest.raises(ProfileStoreUnavailable, match="not called"):
        await guarded.read_profile("ann", 1)
    assert (store.calls, seen, guarded.breaker.state) == (3, [False], BreakerState.OPEN)
    store.fails = store.hangs = False
    async with asyncio.timeout(30):
        while guarded.breaker.state is BreakerState.OPEN:  # noqa: ASYNC110 - the breaker signals no event
            await asyncio.sleep(0)
    assert (await guarded.read_profile("ann", 1)).item_ids == ["ann"]
    assert seen[-1]
    assert guarded.probes >= 1
    await guarded.close()


async def test_an_error_of_the_caller_is_no_failure(store: Store):
    """It passes, and the breaker stays closed."""

    async def refuse(user_id: str) -> int:
        raise ValueError(user_id)

    store.forget_user = refuse  # type: ignore[method-assign]
    guarded = GuardedProfiles(store, "here", BreakerOptions(failures=1))
    with pytest.raises(ValueError, match="ann"):
        await guarded.forget_user("ann")
    assert guarded.breaker.state is BreakerState.CLOSED
