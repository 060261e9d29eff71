"""Several servers over one stream; what they share of a contract stands in tests/contract/test_change_feed.py."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from structlog.testing import capture_logs

from common.changes import redis_stream
from common.changes.redis_stream import StreamAddress
from common.errors import NotReady
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes import redis_feed
from services.retrieval.changes.change import Change
from services.retrieval.changes.redis_feed import RedisFeed
from testing.redis_server import RedisServer

WAIT_S = 20.0


Open = Callable[[], RedisFeed]


class Shelf:
    """A follower that keeps prices, and in what order they came."""

    def __init__(self) -> None:
        self.prices: dict[str, float | None] = {}
        self.seen: list[float | None] = []
        self.change = threading.Condition()

    def apply(self, change: Change) -> ChangeCounts:
        """Keep what the change says."""
        with self.change:
            self.prices |= {item.item_id: item.price for item in change.items}
            self.seen += [item.price for item in change.items]
            for item_id in change.deleted:
                self.prices.pop(item_id, None)
            self.change.notify_all()
        return ChangeCounts(inserted=len(change.items))

    def until(self, prices: dict[str, float]) -> None:
        """Wait until the shelf is as it should be."""
        with self.change:
            assert self.change.wait_for(lambda: self.prices == prices, WAIT_S), self.prices


def priced(prices: dict[str, float], deleted: tuple[str, ...] = ()) -> Change:
    """Return a change that sets prices."""
    items = tuple(Item(item_id, "thing", price=price) for item_id, price in prices.items())
    return Change(items, np.ones((len(items), 1), "f4"), "e", deleted)


@pytest.fixture
def open_feed(redis: RedisServer) -> Iterator[Open]:
    """Return how another server's feed over the same stream is opened."""
    opened: list[RedisFeed] = []

    def open_() -> RedisFeed:
        opened.append(RedisFeed(StreamAddress.parse(redis.url("feed"))))
        return opened[-1]

    yield open_
    for feed in opened:
        feed.close()


@pytest.fixture
def replicas(open_feed: Open) -> list[tuple[RedisFeed, Shelf]]:
    """Return two servers' feeds, each with a follower."""
    both = [(open_feed(), Shelf()) for _ in range(2)]
    for feed, shelf in both:
        feed.attach(shelf)
    return both


def test_changes_reach_the_other_server(replicas: list[tuple[RedisFeed, Shelf]]):
    """A change that one server acknowledged comes to the other by itself, upserts and deletions alike."""
    (one, here), (other, there) = replicas
    one.commit(priced({"a": 1.0, "b": 2.0}), here)
    there.until({"a": 1.0, "b": 2.0})
    other.commit(priced({"c": 3.0}, deleted=("a",)), there)
    here.until({"b": 2.0, "c": 3.0})


def test_servers_see_one_order(replicas: list[tuple[RedisFeed, Shelf]]):
    """Where both change the same item at once, both end with the same, by way of the same."""
    (one, here), (other, there) = replicas

    def change(feed: RedisFeed, shelf: Shelf, first: int) -> None:
        for price in range(first, 60, 2):
            feed.commit(priced({"a": float(price)}), shelf)

    threads = [threading.Thread(target=change, args=(*replica, first)) for first, replica in enumerate(replicas)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.commit(priced({"end": 0.0}), here)
    other.commit(priced({"end": 1.0}), there)
    here.until(there.prices)
    assert len(here.seen) == 62
    assert here.seen == there.seen


def test_a_server_that_was_away(open_feed: Open, replicas: list[tuple[RedisFeed, Shelf]]):
    """A server that starts later gets everything it missed, and follows from then on."""
    (one, here), _ = replicas
    one.commit(priced({"a": 1.0, "b": 2.0}), here)
    one.commit(priced({}, deleted=("a",)), here)
    late, shelf = open_feed(), Shelf()
    assert late.attach(shelf) == 2
    assert shelf.prices == {"b": 2.0}
    one.commit(priced({"c": 3.0}), here)
    shelf.until({"b": 2.0, "c": 3.0})


def test_the_stream_is_compacted(
    open_feed: Open, replicas: list[tuple[RedisFeed, Shelf]], monkeypatch: pytest.MonkeyPatch, redis: RedisServer
):
    """A stream that has grown long is folded into a snapshot; whoever starts then or was behind has the same."""
    monkeypatch.setattr(redis_feed, "_MANY_CHANGES", 10)
    monkeypatch.setattr(redis_stream, "_FRESH_MS", -1)
    (one, here), (_, there) = replicas
    for price in range(30):
        one.commit(priced({"a": float(price), f"b{price % 3}": 1.0}), here)
    one.commit(priced({}, deleted=("b1",)), here)
    late, shelf = open_feed(), Shelf()
    assert redis.client.xlen("feed") == 0
    shelf.prices["b1"] = 5.0
    assert late.attach(shelf) == 2
    expected = {"a": 29.0, "b0": 1.0, "b2": 1.0}
    assert shelf.prices == here.prices == expected
    late.commit(priced({"c": 1.0}), shelf)
    there.until(expected | {"c": 1.0})


def test_a_long_stream_is_noticed(
    replicas: list[tuple[RedisFeed, Shelf]], monkeypatch: pytest.MonkeyPatch, redis: RedisServer
):
    """A server that runs for long looks at the stream's length by itself, and goes on through the compaction."""
    for name, value in (("_MANY_CHANGES", 10), ("_LOOK_AFTER", 20)):
        monkeypatch.setattr(redis_feed, name, value)
    monkeypatch.setattr(redis_stream, "_FRESH_MS", -1)
    (one, here), (_, there) = replicas
    for price in range(60):
        one.commit(priced({"a": float(price)}), here)
    there.until({"a": 59.0})
    deadline = time.monotonic() + WAIT_S
    while not redis.client.exists("feed:snapshot"):
        assert time.monotonic() < deadline
    assert here.prices == there.prices


def test_without_redis_changes_are_refused(redis: RedisServer, replicas: list[tuple[RedisFeed, Shelf]]):
    """While Redis is away changes are refused; once it is back they are made, and both servers have them."""
    (one, here), (_, there) = replicas
    one.commit(priced({"a": 1.0}), here)
    there.until({"a": 1.0})
    redis.signal(signal.SIGKILL)
    with pytest.raises(NotReady, match=r"feed at 127\.0\.0\.1"):
        one.commit(priced({"b": 2.0}), here)
    with pytest.raises(NotReady, match=r"feed at 127\.0\.0\.1"):
        one.commit(priced({"b": 3.0}), here)
    assert there.prices == {"a": 1.0}
    redis.start()
    _made(one, here, priced({"c": 4.0}))
    there.until({"a": 1.0, "c": 4.0})


def test_a_redis_that_hangs(redis: RedisServer, replicas: list[tuple[RedisFeed, Shelf]]):
    """A Redis that does not answer has a change refused in bounded time; it may have been made, and both agree."""
    (one, here), (_, there) = replicas
    redis.signal(signal.SIGSTOP)
    with pytest.raises(NotReady):
        one.commit(priced({"a": 1.0}), here)
    redis.signal(signal.SIGCONT)
    _made(one, here, priced({"b": 2.0}))
    there.until(here.prices)
    assert here.prices["b"] == 2.0


def test_strange_entries_are_left_out(redis: RedisServer, open_feed: Open, replicas: list[tuple[RedisFeed, Shelf]]):
    """What another program wrote into the stream is logged and left out, at start as on the way."""
    (one, here), (_, there) = replicas
    with capture_logs() as logs:
        for fields in ({"body": b"\x03\0\0\0{}?"}, {"other": "thing"}, {"body": b"\xff\xff\xff\xff"}):
            redis.client.xadd("feed", fields)
        one.commit(priced({"a": 1.0}), here)
        there.until({"a": 1.0})
        late = Shelf()
        assert open_feed().attach(late) == 1
    assert late.prices == {"a": 1.0}
    assert len([line for line in logs if line["log_level"] == "error"]) == 9


def test_a_server_can_not_start_without_redis():
    """Without Redis nobody knows what the catalogue is, so a server does not start."""
    with pytest.raises(NotReady, match=r"changes can't be reached: shop at 127\.0\.0\.1:1"):
        RedisFeed(StreamAddress.parse("redis://127.0.0.1:1/0?stream=shop"))


def _made(feed: RedisFeed, asker: Shelf, change: Change) -> None:
    """Repeat a change until Redis is there to take it."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            feed.commit(change, asker)
        except NotReady:
            assert time.monotonic() < deadline
        else:
            return
