"""Items that are candidates because the request asks for them, and conditions over candidates."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import InvalidRequest
from common.filters import Match, Range
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.server.methods.included_items import include_items, which_hold


def _ask(stage: FirstStage, **request: object) -> Candidates:
    asked = Request(query="fresh milk", limit=2, **request)  # type: ignore[arg-type]
    return include_items(stage.retrieve([asked])[0], asked, stage.item_filter)


def test_included_items_take_the_last_places(live_shop: FirstStage):
    """They have the lowest scores and none of a source; unknown ids and repeats change nothing."""
    live_shop.writer.upsert([Item("oats", "rolled oats")])
    plain = _ask(live_shop)
    found = _ask(live_shop, include_item_ids=["oats", "unheard of", "oats"])
    assert found.item_ids == [plain.item_ids[0], "oats"]
    assert found.scores[1] < found.scores[0]
    assert np.isnan(found.source_scores[1]).all()
    assert _ask(live_shop, include_item_ids=[plain.item_ids[1]]).item_ids == plain.item_ids
    assert _ask(live_shop, include_item_ids=["soap", "sponge", "oats"]).item_ids == ["soap", "sponge"]


def test_included_items_must_be_allowed(live_shop: FirstStage):
    """Neither the filter nor exclusions nor availability are passed by."""
    live_shop.writer.upsert([Item("oats", "rolled oats", available=False)])
    plain = _ask(live_shop).item_ids
    assert _ask(live_shop, include_item_ids=["oats"]).item_ids == plain
    assert _ask(live_shop, include_item_ids=["soap"], exclude_item_ids=["soap"]).item_ids == plain
    dairy = Match("category", ("dairy",))
    assert "soap" not in _ask(live_shop, include_item_ids=["soap"], filter=dairy).item_ids
    history = {"history_item_ids": ["soap"], "exclude_history": True}
    assert "soap" not in _ask(live_shop, include_item_ids=["soap"], **history).item_ids
    with pytest.raises(InvalidRequest, match="include_item_ids: 101 given; at most 100"):
        _ask(live_shop, include_item_ids=["x"] * 101)


def test_conditions_hold_for_the_candidates_that_they_hold_for(live_shop: FirstStage):
    """They leave nothing out, know added items, and refuse an unknown attribute."""
    live_shop.writer.upsert([Item("oats", "rolled oats", category="dairy", price=99.0)])
    found = live_shop.retrieve([Request(query="milk", limit=50)])[0]
    dear = which_hold(Range("price", 98.0), found, live_shop.item_filter)
    assert [item for item, holds in zip(found.item_ids, dear, strict=True) if holds] == ["oats"]
    assert 1 < which_hold(Match("category", ("dairy",)), found, live_shop.item_filter).sum() < len(found)
    with pytest.raises(InvalidRequest, match="margin"):
        which_hold(Range("margin", 0.1), found, live_shop.item_filter)
