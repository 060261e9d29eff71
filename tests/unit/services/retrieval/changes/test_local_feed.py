"""The feed over a write-ahead log: compaction at start, and refusals. See also `tests/contract/test_change_feed.py`."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from common.errors import NotReady
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.change import Change
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.changes.write_ahead_log import FILE


class PriceListener:
    """Keeps the prices of items."""

    def __init__(self) -> None:
        self.prices: dict[str, float | None] = {}

    def apply(self, change: Change) -> ChangeCounts:
        """Keep the prices of a change."""
        self.prices |= {item.item_id: item.price for item in change.items}
        for item_id in change.deleted:
            self.prices.pop(item_id, None)
        return ChangeCounts()


def priced(prices: dict[str, float], deleted: tuple[str, ...] = ()) -> Change:
    """Return a change that sets prices."""
    items = tuple(Item(item_id, "thing", price=price) for item_id, price in prices.items())
    return Change(items, np.ones((len(items), 1), "f4"), "e", deleted)


def test_superseded_changes_are_dropped_at_start(tmp_path: Path):
    """A log of mostly superseded changes is rewritten at start with the same effect; deletions are kept."""
    feed, listener = LocalFeed(tmp_path), PriceListener()
    feed.subscribe(listener)
    for price in range(20):
        feed.commit(priced({"a": float(price), f"b{price % 3}": 1.0}), listener)
    feed.commit(priced({}, deleted=("b1", "base")), listener)
    feed.close()
    size = (tmp_path / FILE).stat().st_size
    again, later = LocalFeed(tmp_path, max_superseded=10), PriceListener()
    later.prices["base"] = 5.0
    assert again.subscribe(later) == 2
    assert (tmp_path / FILE).stat().st_size < size / 4
    assert later.prices == listener.prices == {"a": 19.0, "b0": 1.0, "b2": 1.0}
    again.close()


def test_a_change_that_is_not_stored_is_not_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """If the log can't be written, no listener receives the change."""
    feed, listener = LocalFeed(tmp_path), PriceListener()
    feed.subscribe(listener)

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(NotReady, match=r"can't be stored in .*No space left on device"):
            feed.commit(priced({"a": 1.0}), listener)
    feed.close()
    assert listener.prices == {}


def test_without_a_folder_changes_are_refused():
    """Without a folder changes are refused with a message that says what to do."""
    feed, listener = LocalFeed(None), PriceListener()
    assert feed.subscribe(listener) == 0
    with pytest.raises(NotReady, match="start the server with --data-dir or --change-stream"):
        feed.commit(priced({"a": 1.0}), listener)
    feed.close()
