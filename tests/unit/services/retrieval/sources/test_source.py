"""What holds for every candidate source."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.source import top_allowed

ScoresOf = Callable[..., dict[str, float]]


@pytest.mark.parametrize("source", ["semantic", "similar", "behaviour", "popular"])
def test_no_source_retrieves_an_excluded_item(shop: FirstStage, scores_of: ScoresOf, source: str):
    """Excluded items are missing, and the others keep their order."""
    history = ["milk-1", "bread"]
    before = scores_of(shop, source, history_item_ids=history)
    after = scores_of(shop, source, history_item_ids=history, exclude_item_ids=["cheese", "milk-1", "unheard of"])
    assert list(after) == [item_id for item_id in before if item_id not in ("cheese", "milk-1")]


@pytest.mark.parametrize("source", ["similar", "behaviour"])
def test_sources_of_the_history_need_a_history(shop: FirstStage, scores_of: ScoresOf, source: str):
    """Without a history these sources retrieve nothing."""
    assert scores_of(shop, source, query="milk") == {}


@pytest.mark.parametrize(
    ("k", "rows", "scores"), [(1, [4], [3.0]), (2, [4, 1], [3.0, 2.0]), (8, [4, 1, 2], [3.0, 2.0, 1.0])]
)
def test_top_allowed_keeps_the_best_allowed_rows(shop: FirstStage, k: int, rows: list[int], scores: list[float]):
    """Rows are ordered by falling score; those that are not allowed or score 0 are left out."""
    snapshot = shop.snapshot
    mask = snapshot.is_live.copy()
    mask[7] = False
    allowed = AllowedItems(snapshot, mask, None, None, vector_count=6, count=int(mask.sum()))
    best = top_allowed(np.array([0, 2, 1, 0, 3, 0, 0, 9], np.float32), k, allowed)
    assert (best.rows.tolist(), best.scores.tolist()) == (rows, scores)
