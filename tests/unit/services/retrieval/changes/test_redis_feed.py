"""Several servers over one Redis stream. See also `tests/contract/test_change_feed.py`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from structlog.testing import capture_logs

from common.changes import redis_stream
from common.changes.stream_address import StreamAddress
from common.errors import NotReady
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.change import Change
from services.retrieval.changes.redis_feed import RedisFeed, RedisFeedOptions
from testing.redis_server import RedisServer

WAIT_S = 20.0
Open = Callable[..., RedisFeed]
Replica = tuple[RedisFeed, "PriceListener"]


class PriceListener:
    """Keeps the prices of items, and the order in which they arrived."""

    def __init__(self) -> None:
        self.prices: dict[str, float | None] = {}
        self.seen: list[float | None] = []
        self.change = threading.Condition()

    def apply(self, change: Change) -> ChangeCounts:
        """Keep the prices of a change."""
        with self.change:
            self.prices |= {item.item_id: item.price for item in change.items}
            self.seen += [item.price for item in change.items]
            for item_id in change.deleted:
                self.prices.pop(item_id, None)
            self.change.notify_all()
        return ChangeCounts(inserted=len(change.items))

    def until(self, prices: dict[str, float]) -> None:
        """Wait until the listener has these prices."""
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

    def open_(**options: int) -> RedisFeed:
        opened.append(RedisFeed(StreamAddress.parse(redis.url("feed")), options=RedisFeedOptions(**options)))
        return opened[-1]

    yield open_
    for feed in opened:
        feed.close()


def two_replicas(open_feed: Open, **options: int) -> list[Replica]:
    """Open the feeds of two servers, each with a listener."""
    both = [(open_feed(**options), PriceListener()) for _ in range(2)]
    for feed, listener in both:
        feed.subscribe(listener)
    return both


@pytest.fixture
def replicas(open_feed: Open) -> list[Replica]:
    """Return the feeds of two servers, each with a listener."""
    return two_replicas(open_feed)


def test_changes_reach_the_other_server(replicas: list[Replica]):
    """Upserts and deletions that one server acknowledged reach the other."""
    (one, here), (other, there) = replicas
    one.commit(priced({"a": 1.0, "b": 2.0}), here)
    there.until({"a": 1.0, "b": 2.0})
    other.commit(priced({"c": 3.0}, deleted=("a",)), there)
    here.until({"b": 2.0, "c": 3.0})


def test_servers_see_one_order(replicas: list[Replica]):
    """If both change an item at once, both apply the changes in the same order."""
    (one, here), (other, there) = replicas

    def change(feed: RedisFeed, listener: PriceListener, first: int) -> None:
        for price in range(first, 60, 2):
            feed.commit(priced({"a": float(price)}), listener)

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


def test_a_server_that_starts_later(open_feed: Open, replicas: list[Replica]):
    """A server that starts later receives every earlier change, and then the new ones."""
    (one, here), _ = replicas
    one.commit(priced({"a": 1.0, "b": 2.0}), here)
    one.commit(priced({}, deleted=("a",)), here)
    late, listener = open_feed(), PriceListener()
    assert late.subscribe(listener) == 2
    assert listener.prices == {"b": 2.0}
    one.commit(priced({"c": 3.0}), here)
    listener.until({"b": 2.0, "c": 3.0})


def test_a_long_stream_is_compacted_at_start(
    open_feed: Open, replicas: list[Replica], monkeypatch: pytest.MonkeyPatch, redis: RedisServer
):
    """A long stream becomes a snapshot; servers that start then, or were behind, have the same prices."""
    monkeypatch.setattr(redis_stream, "_FRESH_MS", -1)
    (one, here), (_, there) = replicas
    for price in range(30):
        one.commit(priced({"a": float(price), f"b{price % 3}": 1.0}), here)
    one.commit(priced({}, deleted=("b1",)), here)
    late, listener = open_feed(max_entries=10), PriceListener()
    assert redis.client.xlen("feed") == 0
    listener.prices["b1"] = 5.0
    assert late.subscribe(listener) == 2
    expected = {"a": 29.0, "b0": 1.0, "b2": 1.0}
    assert listener.prices == here.prices == expected
    late.commit(priced({"c": 1.0}), listener)
    there.until(expected | {"c": 1.0})


def test_a_long_stream_is_compacted_while_serving(open_feed: Open, monkeypatch: pytest.MonkeyPatch, redis: RedisServer):
    """A running server checks the stream's length, and continues through the compaction."""
    monkeypatch.setattr(redis_stream, "_FRESH_MS", -1)
    (one, here), (_, there) = two_replicas(open_feed, max_entries=10, check_interval=20)
    for price in range(60):
        one.commit(priced({"a": float(price)}), here)
    there.until({"a": 59.0})
    deadline = time.monotonic() + WAIT_S
    while not redis.client.exists("feed:snapshot"):
        assert time.monotonic() < deadline
    assert here.prices == there.prices


def test_without_redis_changes_are_refused(redis: RedisServer, replicas: list[Replica]):
    """Changes are refused while Redis is down; once it is up again, they are made on both servers."""
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
    _commit_until_accepted(one, here, priced({"c": 4.0}))
    there.until({"a": 1.0, "c": 4.0})


def test_a_redis_that_hangs(redis: RedisServer, replicas: list[Replica]):
    """If Redis does not answer, a change is refused in bounded time; it may have been made, on both servers or none."""
    (one, here), (_, there) = replicas
    redis.signal(signal.SIGSTOP)
    with pytest.raises(NotReady):
        one.commit(priced({"a": 1.0}), here)
    redis.signal(signal.SIGCONT)
    _commit_until_accepted(one, here, priced({"b": 2.0}))
    there.until(here.prices)
    assert here.prices["b"] == 2.0


def test_entries_of_other_programs_are_skipped(redis: RedisServer, open_feed: Open, replicas: list[Replica]):
    """Entries that are not changes are logged and skipped, at start and later."""
    (one, here), (_, there) = replicas
    with capture_logs() as logs:
        for fields in ({"body": b"\x03\0\0\0{}?"}, {"other": "thing"}, {"body": b"\xff\xff\xff\xff"}):
            redis.client.xadd("feed", fields)
        one.commit(priced({"a": 1.0}), here)
        there.until({"a": 1.0})
        late = PriceListener()
        assert open_feed().subscribe(late) == 1
    assert late.prices == {"a": 1.0}
    assert len([line for line in logs if line["log_level"] == "error"]) == 9


def test_a_server_does_not_start_without_redis():
    """Without Redis the catalogue is unknown, so the feed refuses to open."""
    with pytest.raises(NotReady, match=r"changes cannot be reached: shop at 127\.0\.0\.1:1"):
        RedisFeed(StreamAddress.parse("redis://127.0.0.1:1/0?stream=shop"))


def _commit_until_accepted(feed: RedisFeed, committer: PriceListener, change: Change) -> None:
    """Repeat a change until Redis accepts it."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            feed.commit(change, committer)
        except NotReady:
            assert time.monotonic() < deadline
        else:
            return
