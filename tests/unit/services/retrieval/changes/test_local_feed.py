"""Changes reach the log, and the log stays short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import NotReady
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes import local_feed
from services.retrieval.changes.change import Change
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.changes.write_ahead_log import FILE


class Shelf:
    """A follower that keeps prices."""

    def __init__(self) -> None:
        self.prices: dict[str, float | None] = {}

    def apply(self, change: Change) -> ChangeCounts:
        """Keep what the change says."""
        self.prices |= {item.item_id: item.price for item in change.items}
        for item_id in change.deleted:
            self.prices.pop(item_id, None)
        return ChangeCounts()


def priced(prices: dict[str, float], deleted: tuple[str, ...] = ()) -> Change:
    """Return a change that sets prices."""
    items = tuple(Item(item_id, "thing", price=price) for item_id, price in prices.items())
    return Change(items, np.ones((len(items), 1), "f4"), "e", deleted)


def test_what_was_superseded_is_dropped_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A log of mostly superseded changes is rewritten at start and says the same; deletions are kept."""
    monkeypatch.setattr(local_feed, "_FEW_SUPERSEDED", 10)
    feed, shelf = LocalFeed(tmp_path), Shelf()
    feed.attach(shelf)
    for price in range(20):
        feed.commit(priced({"a": float(price), f"b{price % 3}": 1.0}), shelf)
    feed.commit(priced({}, deleted=("b1", "base")), shelf)
    feed.close()
    size = (tmp_path / FILE).stat().st_size
    again, later = LocalFeed(tmp_path), Shelf()
    later.prices["base"] = 5.0
    assert again.attach(later) == 2
    assert (tmp_path / FILE).stat().st_size < size / 4
    assert later.prices == shelf.prices == {"a": 19.0, "b0": 1.0, "b2": 1.0}
    again.close()


def test_a_change_that_is_not_stored_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the log refuses, no release shows the change."""
    feed, shelf = LocalFeed(tmp_path), Shelf()
    feed.attach(shelf)

    def refuse(_change: Change) -> None:
        raise NotReady("full")

    monkeypatch.setattr(feed._log, "append", refuse)
    with pytest.raises(NotReady, match="full"):
        feed.commit(priced({"a": 1.0}), shelf)
    feed.close()
    assert shelf.prices == {}


def test_without_a_folder_changes_are_refused():
    """A server without a place for changes refuses them and says what to do."""
    feed, shelf = LocalFeed(None), Shelf()
    assert feed.attach(shelf) == 0
    with pytest.raises(NotReady, match="start the server with --data-dir or --change-stream"):
        feed.commit(priced({"a": 1.0}), shelf)
    feed.close()
