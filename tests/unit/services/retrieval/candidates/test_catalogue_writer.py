"""Changes are stored before they are shown, wake the maintenance, and end with the writer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from common.errors import NotReady
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change import Change
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.changes.write_ahead_log import WriteAheadLog
from services.retrieval.maintenance.maintenance_worker import MaintenanceWorker

OpenShop = Callable[..., FirstStage]
NEW = Item("oat", "oat milk")


def test_a_closed_stage_receives_no_changes(open_shop: OpenShop, feed: ChangeFeed):
    """A change made after a stage was closed reaches the other stages of the feed only."""
    closed, served = open_shop(feed), open_shop(feed)
    closed.close()
    assert served.writer.upsert([NEW]).inserted == 1
    assert served.get_items(["oat"]) != [None]
    assert closed.get_items(["oat"]) == [None]


def test_a_change_that_cannot_be_stored_is_not_shown(live_shop: FirstStage, monkeypatch: pytest.MonkeyPatch):
    """If the log refuses a change, the catalogue stays as it was."""

    def refuse(_log: WriteAheadLog, _change: Change) -> None:
        raise NotReady("the disk is full")

    monkeypatch.setattr(WriteAheadLog, "append", refuse)
    with pytest.raises(NotReady, match="disk is full"):
        live_shop.writer.upsert([NEW])
    with pytest.raises(NotReady, match="disk is full"):
        live_shop.writer.delete(["milk-1"])
    oat, milk = live_shop.get_items(["oat", "milk-1"])
    assert oat is None
    assert milk is not None


def test_each_change_wakes_the_maintenance(live_shop: FirstStage, monkeypatch: pytest.MonkeyPatch):
    """The maintenance is woken once by each change, after the change can be seen."""
    seen: list[int] = []
    monkeypatch.setattr(MaintenanceWorker, "wake", lambda _worker: seen.append(live_shop.snapshot.item_count))
    live_shop.writer.upsert([NEW])
    live_shop.writer.delete(["oat", "milk-1"])
    assert seen == [9, 7]


def test_a_deleted_id_counts_once(live_shop: FirstStage):
    """Repeated ids are deleted once, and unknown ones are counted as missing."""
    counts = live_shop.writer.delete(["milk-1", "unknown", "milk-1", "unknown"])
    assert (counts.deleted, counts.missing) == (1, 1)
