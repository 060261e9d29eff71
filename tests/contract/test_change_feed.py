"""What holds for every `ChangeFeed`: the write-ahead log and the Redis stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from common.changes.stream_address import StreamAddress
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.change import Change
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.changes.redis_feed import RedisFeed
from testing.redis_server import RedisServer

Open = Callable[[], ChangeFeed]


class PriceListener:
    """Keeps the prices of items."""

    def __init__(self) -> None:
        self.prices: dict[str, float | None] = {}
        self.vectors: dict[str, list[float]] = {}
        self.changes = 0

    def apply(self, change: Change) -> ChangeCounts:
        """Keep the prices of a change."""
        self.changes += 1
        for item, vector in zip(change.items, change.vectors.tolist(), strict=True):
            self.prices[item.item_id] = item.price
            self.vectors[item.item_id] = vector
        gone = [item_id for item_id in change.deleted if self.prices.pop(item_id, self) is not self]
        return ChangeCounts(inserted=len(change.items), deleted=len(gone))


def priced(prices: dict[str, float], encoder: str = "e", deleted: Sequence[str] = ()) -> Change:
    """Return a change that sets prices; each item's vector holds its price."""
    items = tuple(Item(item_id, "thing", price=price) for item_id, price in prices.items())
    return Change(items, np.array([[price] for price in prices.values()], "f4").reshape(-1, 1), encoder, tuple(deleted))


@pytest.fixture(params=["log", "redis"])
def open_feed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Return how a feed over the same changes is opened; one at a time, since a log has one owner."""
    opened: list[ChangeFeed] = []
    redis: RedisServer | None = request.getfixturevalue("redis") if request.param == "redis" else None

    def open_() -> ChangeFeed:
        opened.append(RedisFeed(StreamAddress.parse(redis.url("feed"))) if redis else LocalFeed(tmp_path))
        return opened[-1]

    yield open_
    if opened:
        opened[-1].close()


@pytest.fixture
def feed(open_feed: Open) -> ChangeFeed:
    """Return a feed without changes."""
    return open_feed()


def test_changes_reach_every_listener(feed: ChangeFeed):
    """A change is applied to every listener before `commit` returns the counts of the given one."""
    one, other = PriceListener(), PriceListener()
    for listener in (one, other):
        feed.subscribe(listener)
    other.prices["b"] = 2.0
    assert feed.commit(priced({"a": 1.0}, deleted=["b"]), other) == ChangeCounts(inserted=1, deleted=1)
    assert other.prices == {"a": 1.0}
    assert feed.commit(priced({"b": 2.0}), one) == ChangeCounts(inserted=1)
    assert one.prices == {"a": 1.0, "b": 2.0}
    assert one.vectors == {"a": [1.0], "b": [2.0]}


def test_a_late_listener_receives_earlier_changes(feed: ChangeFeed):
    """A listener receives every change made before it subscribed, in order, and then the new ones."""
    early, late = PriceListener(), PriceListener()
    feed.subscribe(early)
    for price in (1.0, 2.0, 3.0):
        feed.commit(priced({"a": price}), early)
    assert feed.subscribe(late) == 3
    feed.commit(priced({"b": 4.0}), late)
    assert late.prices == {"a": 3.0, "b": 4.0}
    assert late.changes == 4


def test_changes_during_a_subscription_are_delivered_once(feed: ChangeFeed):
    """A change made while a listener receives the earlier ones is delivered to it once."""
    early = PriceListener()

    class Loading(PriceListener):
        def apply(self, change: Change) -> ChangeCounts:
            if not self.changes:
                feed.commit(priced({"b": 2.0}), early)
            return super().apply(change)

    feed.subscribe(early)
    feed.commit(priced({"a": 1.0}), early)
    late = Loading()
    assert feed.subscribe(late) == 2
    feed.commit(priced({"c": 3.0}), late)
    assert late.prices == early.prices | {"c": 3.0} == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert late.changes == 3


def test_an_unsubscribed_listener_receives_nothing(feed: ChangeFeed):
    """After unsubscribing, once or twice, a listener receives no change."""
    listener, other = PriceListener(), PriceListener()
    for each in (listener, other):
        feed.subscribe(each)
    feed.unsubscribe(listener)
    feed.unsubscribe(listener)
    feed.commit(priced({"a": 1.0}), other)
    feed.commit(priced({"b": 1.0}), other)
    assert listener.changes == 0


def test_changes_survive_a_restart(open_feed: Open):
    """The next process delivers every change that was acknowledged."""
    for price in (1.0, 2.0):
        feed, listener = open_feed(), PriceListener()
        feed.subscribe(listener)
        feed.commit(priced({f"item-{price}": price}), listener)
        feed.close()
    listener = PriceListener()
    open_feed().subscribe(listener)
    assert listener.prices == {"item-1.0": 1.0, "item-2.0": 2.0}


def test_changes_have_one_order(feed: ChangeFeed):
    """Changes of many threads reach every listener in the same order, the last acknowledged one last."""
    seen: dict[str, list[float | None]] = {"one": [], "other": []}

    class Listening(PriceListener):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def apply(self, change: Change) -> ChangeCounts:
            seen[self.name] += [item.price for item in change.items]
            return super().apply(change)

    one, other = Listening("one"), Listening("other")
    feed.subscribe(one)
    feed.subscribe(other)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda price: feed.commit(priced({"a": price}), one), map(float, range(40))))
    feed.commit(priced({"a": 99.0}), other)
    assert sorted(seen["one"][:-1]) == list(map(float, range(40)))
    assert seen["one"] == seen["other"]


def test_a_listener_that_fails(feed: ChangeFeed):
    """If a change can't be applied, `commit` raises the error, and later changes are applied."""

    class Failing(PriceListener):
        def apply(self, change: Change) -> ChangeCounts:
            if change.items[0].item_id == "bad":
                raise RuntimeError("out of memory")
            return super().apply(change)

    listener = Failing()
    feed.subscribe(listener)
    with pytest.raises(RuntimeError, match="out of memory"):
        feed.commit(priced({"bad": 1.0}), listener)
    feed.commit(priced({"good": 1.0}), listener)
    assert listener.prices == {"good": 1.0}


def test_listeners_that_subscribe_between_changes(feed: ChangeFeed):
    """A listener that subscribes at any moment misses no change and receives none twice."""
    early, done = PriceListener(), threading.Event()
    feed.subscribe(early)

    def change() -> None:
        for number in range(60):
            feed.commit(priced({f"i{number}": 1.0}), early)
        done.set()

    writer = threading.Thread(target=change)
    writer.start()
    late: list[PriceListener] = []
    while not done.is_set():
        late.append(PriceListener())
        feed.subscribe(late[-1])
    writer.join()
    feed.commit(priced({"end": 1.0}), late[-1])
    assert {listener.changes for listener in late} == {61}
