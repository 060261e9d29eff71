"""What every implementation of `ChangeFeed` holds to: the log on a disk, and the Redis stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from common.changes.redis_stream import StreamAddress
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.change import Change
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.changes.redis_feed import RedisFeed
from testing.redis_server import RedisServer

Open = Callable[[], ChangeFeed]


class Shelf:
    """A follower that keeps prices."""

    def __init__(self) -> None:
        self.prices: dict[str, float | None] = {}
        self.vectors: dict[str, list[float]] = {}
        self.changes = 0

    def apply(self, change: Change) -> ChangeCounts:
        """Keep what the change says."""
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
    """Return how a feed is opened over the same changes each time; one after the other, since a log is for one."""
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


def test_changes_reach_every_follower(feed: ChangeFeed):
    """A change is shown to all that are attached before it is acknowledged, and its answer is the asker's."""
    one, other = Shelf(), Shelf()
    for shelf in (one, other):
        feed.attach(shelf)
    other.prices["b"] = 2.0
    assert feed.commit(priced({"a": 1.0}, deleted=["b"]), other) == ChangeCounts(inserted=1, deleted=1)
    assert other.prices == {"a": 1.0}
    assert feed.commit(priced({"b": 2.0}), one) == ChangeCounts(inserted=1)
    assert one.prices == {"a": 1.0, "b": 2.0}
    assert one.vectors == {"a": [1.0], "b": [2.0]}


def test_who_comes_later_gets_what_was_before(feed: ChangeFeed):
    """A release that is activated later gets every change made before, in order, and then the new ones."""
    early, late = Shelf(), Shelf()
    feed.attach(early)
    for price in (1.0, 2.0, 3.0):
        feed.commit(priced({"a": price}), early)
    assert feed.attach(late) == 3
    feed.commit(priced({"b": 4.0}), late)
    assert late.prices == {"a": 3.0, "b": 4.0}
    assert late.changes == 4


def test_changes_made_while_a_release_loads_reach_it(feed: ChangeFeed):
    """What is changed while a release catches up is carried to it too, once."""
    early = Shelf()

    class Loading(Shelf):
        def apply(self, change: Change) -> ChangeCounts:
            if not self.changes:
                feed.commit(priced({"b": 2.0}), early)
            return super().apply(change)

    feed.attach(early)
    feed.commit(priced({"a": 1.0}), early)
    late = Loading()
    assert feed.attach(late) == 2
    feed.commit(priced({"c": 3.0}), late)
    assert late.prices == early.prices | {"c": 3.0} == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert late.changes == 3


def test_who_is_detached_gets_nothing_more(feed: ChangeFeed):
    """A release that is closed is left alone, also when it is detached again."""
    shelf, other = Shelf(), Shelf()
    for each in (shelf, other):
        feed.attach(each)
    feed.detach(shelf)
    feed.detach(shelf)
    feed.commit(priced({"a": 1.0}), other)
    feed.commit(priced({"b": 1.0}), other)
    assert shelf.changes == 0


def test_changes_survive_a_restart(open_feed: Open):
    """The next process shows every change that was acknowledged."""
    for price in (1.0, 2.0):
        feed, shelf = open_feed(), Shelf()
        feed.attach(shelf)
        feed.commit(priced({f"item-{price}": price}), shelf)
        feed.close()
    shelf = Shelf()
    open_feed().attach(shelf)
    assert shelf.prices == {"item-1.0": 1.0, "item-2.0": 2.0}


def test_changes_have_one_order(feed: ChangeFeed):
    """Changes made by many threads at once come to every follower in the same order, the last acknowledged one last."""
    seen: dict[str, list[float | None]] = {"one": [], "other": []}

    class Listening(Shelf):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def apply(self, change: Change) -> ChangeCounts:
            seen[self.name] += [item.price for item in change.items]
            return super().apply(change)

    one, other = Listening("one"), Listening("other")
    feed.attach(one)
    feed.attach(other)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda price: feed.commit(priced({"a": price}), one), map(float, range(40))))
    feed.commit(priced({"a": 99.0}), other)
    assert sorted(seen["one"][:-1]) == list(map(float, range(40)))
    assert seen["one"] == seen["other"]


def test_a_follower_that_fails(feed: ChangeFeed):
    """Where a change can't be shown its caller is told, and the changes behind it are shown."""

    class Failing(Shelf):
        def apply(self, change: Change) -> ChangeCounts:
            if change.items[0].item_id == "bad":
                raise RuntimeError("out of memory")
            return super().apply(change)

    shelf = Failing()
    feed.attach(shelf)
    with pytest.raises(RuntimeError, match="out of memory"):
        feed.commit(priced({"bad": 1.0}), shelf)
    feed.commit(priced({"good": 1.0}), shelf)
    assert shelf.prices == {"good": 1.0}


def test_changing_while_others_come_and_go(feed: ChangeFeed):
    """Followers that are attached at any moment between changes miss none and see none twice."""
    early, done = Shelf(), threading.Event()
    feed.attach(early)

    def change() -> None:
        for number in range(60):
            feed.commit(priced({f"i{number}": 1.0}), early)
        done.set()

    writer = threading.Thread(target=change)
    writer.start()
    late: list[Shelf] = []
    while not done.is_set():
        late.append(Shelf())
        feed.attach(late[-1])
    writer.join()
    feed.commit(priced({"end": 1.0}), late[-1])
    assert {shelf.changes for shelf in late} == {61}
