"""The contract of the profile store, kept by every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from common.release.event_weights import HISTORY_KINDS, EventKind
from services.gateway.profiles.profile_store import (
    Document,
    Event,
    Profile,
    ProfileStore,
    ProfileStoreUnavailable,
    Search,
)
from services.gateway.profiles.redis_address import RedisAddress
from services.gateway.profiles.redis_store import RedisProfileStore
from services.gateway.profiles.sqlite_store import SqliteProfileStore
from testing.redis_server import RedisServer


def _sqlite(folder: Path, request: pytest.FixtureRequest) -> ProfileStore:
    del request
    return SqliteProfileStore(folder / "profiles.db")


def _redis(folder: Path, request: pytest.FixtureRequest) -> ProfileStore:
    server: RedisServer = request.getfixturevalue("redis")
    return RedisProfileStore(RedisAddress(f"redis://127.0.0.1:{server.port}/0"), folder / "profiles.key")


_OPENERS = {"sqlite": _sqlite, "redis": _redis}


@pytest.fixture(params=sorted(_OPENERS))
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ProfileStore]:
    """Return a function that opens the same store again."""
    opener = _OPENERS[request.param]
    if request.param == "redis":
        request.getfixturevalue("redis")
    return lambda: opener(tmp_path, request)


@pytest.fixture
async def profiles(reopen: Callable[[], ProfileStore]) -> AsyncIterator[ProfileStore]:
    """Return an empty store, closed at the end."""
    store = reopen()
    yield store
    await store.close()


def _view(event_id: str, item_id: str, at: int = 0, user_id: str = "ann") -> Event:
    return Event(event_id, user_id, EventKind.VIEW, at, item_id)


def _search(event_id: str, query: str, at: int) -> Event:
    return Event(event_id, "ann", EventKind.SEARCH, at, query=query)


async def test_an_unknown_user_has_an_empty_profile(profiles: ProfileStore):
    """A user without recorded events has an empty profile, not an error."""
    assert await profiles.read_profile("nobody", 10) == Profile([], None)


async def test_history_is_in_the_order_of_time_then_of_arrival(profiles: ProfileStore):
    """Items come oldest first; those of the same time come in the order of their arrival."""
    await profiles.record_events([_view("1", "late", 30), _view("2", "early", 10), _view("3", "tie-a", 20)])
    await profiles.record_events([_view("4", "tie-b", 20), _view("5", "before 1970", -5)])
    history = (await profiles.read_profile("ann", 10)).item_ids
    assert list(history) == ["before 1970", "early", "tie-a", "tie-b", "late"]


async def test_the_latest_items_are_kept(profiles: ProfileStore):
    """A limit drops the oldest items; repeats are kept."""
    await profiles.record_events([_view(str(at), f"i{at % 2}", at) for at in range(6)])
    assert list((await profiles.read_profile("ann", 3)).item_ids) == ["i1", "i0", "i1"]


@pytest.mark.parametrize("kind", HISTORY_KINDS)
async def test_kinds_with_an_item_make_up_the_history(profiles: ProfileStore, kind: EventKind):
    """Views, carts, purchases and ratings make up the history."""
    await profiles.record_events([Event("1", "ann", kind, 0, "milk", value=4.5)])
    assert list((await profiles.read_profile("ann", 10)).item_ids) == ["milk"]


async def test_each_event_says_what_it_was_and_when(profiles: ProfileStore):
    """The history has the kind and the time of each event, oldest first."""
    await profiles.record_events(
        [Event("1", "ann", EventKind.PURCHASE, 30, "milk"), Event("2", "ann", EventKind.CART, 20, "milk")]
    )
    profile = await profiles.read_profile("ann", 10)
    assert list(profile.kinds) == [EventKind.CART, EventKind.PURCHASE]
    assert list(profile.occurred_at_us) == [20, 30]


async def test_a_refund_takes_its_purchase_back(profiles: ProfileStore):
    """The latest earlier purchase of the same item leaves the history; views, other items and later purchases stay."""
    kinds = ["purchase", "purchase", "view", "refund", "refund", "refund", "purchase"]
    events = [Event(f"m{at}", "ann", EventKind.from_word(kind), at, "milk") for at, kind in enumerate(kinds)]
    other = [Event("t0", "ann", EventKind.PURCHASE, 0, "tea"), Event("b", "bob", EventKind.REFUND, 0, "tea")]
    await profiles.record_events([*events, *other])
    profile = await profiles.read_profile("ann", 10)
    assert list(zip(profile.item_ids, profile.kinds, strict=True)) == [
        ("tea", EventKind.PURCHASE),
        ("milk", EventKind.VIEW),
        ("milk", EventKind.PURCHASE),
    ]
    assert not (await profiles.read_profile("bob", 10)).item_ids


async def test_a_search_is_not_part_of_the_history(profiles: ProfileStore):
    """Searches are separate from items, and the latest by time is returned."""
    await profiles.record_events([_search("1", "later", 20), _search("2", "earlier", 10), _view("3", "milk")])
    profile = await profiles.read_profile("ann", 10)
    assert list(profile.item_ids) == ["milk"]
    assert profile.last_search == Search("later", 20)


async def test_users_are_separate(profiles: ProfileStore):
    """One user's events are not another's."""
    await profiles.record_events([_view("1", "milk"), _view("2", "bread", user_id="bob")])
    assert list((await profiles.read_profile("bob", 10)).item_ids) == ["bread"]


async def test_an_event_id_counts_once(profiles: ProfileStore):
    """The same id again, in the same call or a later one, changes nothing and is counted as a duplicate."""
    assert await profiles.record_events([_view("1", "milk"), _view("1", "bread"), _view("2", "egg")]) == (2, 1)
    assert await profiles.record_events([_view("2", "salt"), _view("3", "tea")]) == (1, 1)
    assert list((await profiles.read_profile("ann", 10)).item_ids) == ["milk", "egg", "tea"]


async def test_concurrent_calls_do_not_mix(profiles: ProfileStore):
    """Concurrent calls with the same events record each event exactly once."""
    batches = [[_view(f"{batch}-{at}", "milk", at) for at in range(5)] for batch in range(20)]
    outcomes = await asyncio.gather(*(profiles.record_events(batch) for batch in [*batches, *batches]))
    assert sum(recorded for recorded, _ in outcomes) == 100
    assert sum(duplicates for _, duplicates in outcomes) == 100
    assert len((await profiles.read_profile("ann", 1_000)).item_ids) == 100


async def test_a_failed_call_records_nothing_and_affects_no_other(profiles: ProfileStore):
    """All of a call's events are recorded or none, even if calls are committed together."""
    unwritable = Event("bad", "ann", EventKind.VIEW, 2**80, "egg")
    outcomes = await asyncio.gather(
        profiles.record_events([_view("1", "milk")]),
        profiles.record_events([_view("2", "bread"), unwritable]),
        profiles.record_events([_view("3", "tea")]),
        return_exceptions=True,
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, False]
    assert sorted((await profiles.read_profile("ann", 10)).item_ids) == ["milk", "tea"]


async def test_forgetting_erases_one_user(profiles: ProfileStore):
    """All events of the user are erased and counted, none of others; erasing again is no error."""
    await profiles.record_events([_view("1", "milk"), _search("2", "tea", 1), _view("3", "bread", user_id="bob")])
    assert await profiles.forget_user("ann") == 2
    assert await profiles.forget_user("ann") == 0
    assert await profiles.read_profile("ann", 10) == Profile([], None)
    assert list((await profiles.read_profile("bob", 10)).item_ids) == ["bread"]


async def test_old_events_are_erased_and_counted(profiles: ProfileStore):
    """Events before the time are erased for every user, those at it and after stay; without any, nothing happens."""
    await profiles.record_events([_view("1", "milk", 10), _view("2", "tea", 20), _view("3", "jam", 10, "bob")])
    assert await profiles.erase_before(10) == 0
    assert await profiles.erase_before(20) == 2
    assert list((await profiles.read_profile("ann", 10)).item_ids) == ["tea"]
    assert await profiles.read_profile("bob", 10) == Profile([], None)
    assert await profiles.record_events([_view("1", "milk", 30)]) == (1, 0)


async def test_an_event_after_forgetting_is_new(profiles: ProfileStore):
    """The ids of forgotten events are forgotten too."""
    await profiles.record_events([_view("1", "milk")])
    await profiles.forget_user("ann")
    assert await profiles.record_events([_view("1", "milk")]) == (1, 0)


async def test_events_survive_a_restart(reopen: Callable[[], ProfileStore]):
    """A reopened store has the recorded events, and still knows their ids."""
    first = reopen()
    await first.record_events([_view("1", "milk"), _search("2", "tea", 7)])
    await first.close()
    second = reopen()
    assert await second.read_profile("ann", 10) == Profile(["milk"], Search("tea", 7), (EventKind.VIEW,), (0,))
    assert await second.record_events([_view("1", "milk")]) == (0, 1)
    await second.close()


async def test_a_closed_store_is_unavailable(profiles: ProfileStore):
    """Calls after closing raise ProfileStoreUnavailable."""
    await profiles.close()
    with pytest.raises(ProfileStoreUnavailable):
        await profiles.read_profile("ann", 10)
    with pytest.raises(ProfileStoreUnavailable):
        await profiles.record_events([_view("1", "milk")])


@pytest.mark.parametrize("text", ["", "  ", "naïve", "💚", "a\x00b", "'; DROP TABLE events; --", "x" * 256])
async def test_any_text_is_kept_unchanged(profiles: ProfileStore, text: str):
    """Ids and queries are returned exactly as given."""
    await profiles.record_events(
        [Event("1", text, EventKind.VIEW, 0, text), Event("2", text, EventKind.SEARCH, 0, "", text)]
    )
    profile = await profiles.read_profile(text, 10)
    assert list(profile.item_ids) == [text]
    assert profile.last_search == Search(text, 0)
    assert await profiles.forget_user(text) == 2


async def test_a_document_is_replaced_only_by_who_knows_its_version(reopen: Callable[[], ProfileStore]):
    """A write with a version that is not the current one changes nothing; documents survive a restart."""
    store = reopen()
    assert await store.read_document("rules") == Document()
    assert await store.read_document("rules", 0) is None
    assert await store.write_document("rules", b"\0first", 0) == 1
    assert await store.write_document("rules", b"late", 0) is None
    assert await store.write_document("rules", b"second", 1) == 2
    await store.close()
    again = reopen()
    assert await again.read_document("rules", 1) == Document(2, b"second")
    assert await again.read_document("rules", 2) is None
    assert await again.read_document("others") == Document()
    await again.close()


async def test_one_of_several_writers_wins(profiles: ProfileStore):
    """Of writes at the same time with the same expected version, one is done."""
    written = await asyncio.gather(*(profiles.write_document("rules", bytes([at]), 0) for at in range(8)))
    assert sorted(written, key=str) == [1, *[None] * 7]
    found = await profiles.read_document("rules")
    assert found == Document(1, bytes([written.index(1)]))
