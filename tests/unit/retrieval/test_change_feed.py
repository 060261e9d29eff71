"""Changes reach the log and every release that is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from common.errors import NotReady
from services.retrieval import change_feed
from services.retrieval.change import Change
from services.retrieval.change_feed import ChangeFeed
from services.retrieval.change_log import FILE
from services.retrieval.items import Item
from services.retrieval.live_catalogue import Applied


class Shelf:
    """A follower that keeps prices."""

    def __init__(self) -> None:
        self.prices: dict[str, float | None] = {}
        self.vectors: dict[str, list[float]] = {}
        self.changes = 0

    def apply(self, change: Change) -> Applied:
        """Keep what the change says."""
        self.changes += 1
        for item, vector in zip(change.items, change.vectors.tolist(), strict=True):
            self.prices[item.item_id] = item.price
            self.vectors[item.item_id] = vector
        gone = [item_id for item_id in change.deleted if self.prices.pop(item_id, self) is not self]
        return Applied(inserted=len(change.items), deleted=len(gone))


def priced(prices: dict[str, float], encoder: str = "e", deleted: Sequence[str] = ()) -> Change:
    """Return a change that sets prices; each item's vector holds its price."""
    items = tuple(Item(item_id, "thing", price=price) for item_id, price in prices.items())
    return Change(items, np.array([[price] for price in prices.values()], "f4").reshape(-1, 1), encoder, tuple(deleted))


def test_changes_reach_every_follower(feed: ChangeFeed):
    """A change is shown to all that are attached, and its answer is the asker's."""
    one, other = Shelf(), Shelf()
    for shelf in (one, other):
        feed.attach(shelf)
    other.prices["b"] = 2.0
    assert feed.commit(priced({"a": 1.0}, deleted=["b"]), other) == Applied(inserted=1, deleted=1)
    assert one.prices == other.prices == {"a": 1.0}


def test_who_comes_later_gets_what_was_before(feed: ChangeFeed):
    """A release that is activated later gets every change made before, in order, and then the new ones."""
    early, late = Shelf(), Shelf()
    feed.attach(early)
    for price in (1.0, 2.0, 3.0):
        feed.commit(priced({"a": price}), early)
    assert feed.attach(late) == 3
    feed.commit(priced({"b": 4.0}), early)
    assert late.prices == {"a": 3.0, "b": 4.0}


def test_changes_made_while_a_release_loads_reach_it(feed: ChangeFeed):
    """What is changed while a release catches up with the log is carried to it too, once."""
    early = Shelf()

    class Loading(Shelf):
        def apply(self, change: Change) -> Applied:
            if not self.changes:
                feed.commit(priced({"b": 2.0}), early)
            return super().apply(change)

    feed.attach(early)
    feed.commit(priced({"a": 1.0}), early)
    late = Loading()
    assert feed.attach(late) == 2
    assert late.prices == early.prices == {"a": 1.0, "b": 2.0}


def test_who_is_detached_gets_nothing_more(feed: ChangeFeed):
    """A release that is closed is left alone, also when it is detached again."""
    shelf, other = Shelf(), Shelf()
    for each in (shelf, other):
        feed.attach(each)
    feed.detach(shelf)
    feed.detach(shelf)
    feed.commit(priced({"a": 1.0}), other)
    assert shelf.changes == 0


def test_changes_survive_a_restart(tmp_path: Path):
    """The next process shows every change that was acknowledged."""
    for price in (1.0, 2.0):
        feed, shelf = ChangeFeed(tmp_path), Shelf()
        feed.attach(shelf)
        feed.commit(priced({f"item-{price}": price}), shelf)
        feed.close()
    feed, shelf = ChangeFeed(tmp_path), Shelf()
    feed.attach(shelf)
    feed.close()
    assert shelf.prices == {"item-1.0": 1.0, "item-2.0": 2.0}


def test_what_was_superseded_is_dropped_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A log of mostly superseded changes is rewritten at start and says the same; deletions are kept."""
    monkeypatch.setattr(change_feed, "_FEW_SUPERSEDED", 10)
    feed, shelf = ChangeFeed(tmp_path), Shelf()
    feed.attach(shelf)
    for price in range(20):
        feed.commit(priced({"a": float(price), f"b{price % 3}": 1.0}, encoder=f"e{price % 2}"), shelf)
    feed.commit(priced({}, deleted=["b1", "base"]), shelf)
    feed.close()
    size = (tmp_path / FILE).stat().st_size
    again, later = ChangeFeed(tmp_path), Shelf()
    later.prices["base"] = 5.0
    assert again.attach(later) == 3
    assert (tmp_path / FILE).stat().st_size < size / 4
    assert later.prices == shelf.prices == {"a": 19.0, "b0": 1.0, "b2": 1.0}
    assert later.vectors["a"] == [19.0]
    again.close()


def test_a_change_that_is_not_stored_is_not_shown(feed: ChangeFeed, monkeypatch: pytest.MonkeyPatch):
    """Where the log refuses, no release shows the change."""
    shelf = Shelf()
    feed.attach(shelf)

    def refuse(_change: Change) -> None:
        raise NotReady("full")

    monkeypatch.setattr(feed._log, "append", refuse)
    with pytest.raises(NotReady, match="full"):
        feed.commit(priced({"a": 1.0}), shelf)
    assert shelf.changes == 0


def test_without_a_folder_changes_are_refused():
    """A server without a place for changes refuses them and says what to do."""
    feed, shelf = ChangeFeed(None), Shelf()
    assert feed.attach(shelf) == 0
    with pytest.raises(NotReady, match="start the server with --data-dir"):
        feed.commit(priced({"a": 1.0}), shelf)
    feed.close()
