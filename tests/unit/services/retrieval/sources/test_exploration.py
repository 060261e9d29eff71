"""The source `exploration`: unpopular and new items, sampled at random each day."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.exploration import ExplorationSource
from services.retrieval.sources.user_context import UserContext

ScoresOf = Callable[..., dict[str, float]]


def user(seed: int = 0, query: str = "") -> UserContext:
    """Return a user without a history."""
    return UserContext(None, np.empty(0, np.int64), 0.5, query_text=query, request_seed=seed)


def everything(stage: FirstStage) -> AllowedItems:
    """Allow every item of the catalogue."""
    snapshot = stage.snapshot
    return AllowedItems(snapshot, snapshot.is_live, None, None, vector_count=6, count=snapshot.item_count)


def test_unpopular_and_new_items_are_sampled(word_stage: FirstStage, scores_of: ScoresOf):
    """Unpopular and new items are sampled, popular and deleted ones never; scores fall and stay above 0."""
    word_stage.writer.upsert([Item("oats", "oats"), Item("roll", "roll, large"), Item("cheese", "cheese, old")])
    word_stage.writer.delete(["sponge"])
    samples = [scores_of(word_stage, "exploration", seed=seed) for seed in range(1, 30)]
    assert {item_id for sample in samples for item_id in sample} == {"oats", "roll", "soap"}
    for sample in samples:
        scores = list(sample.values())
        assert scores == sorted(set(scores), reverse=True)
        assert min(scores, default=1) > 0


def test_the_same_seed_samples_the_same_items_all_day(live_shop: FirstStage):
    """The seed, else query and history, and the day decide what is sampled."""
    live_shop.writer.upsert([Item(f"new-{number}", "thing") for number in range(40)])
    allowed, day = everything(live_shop), [1]
    source = ExplorationSource(np.ones(8, np.float32), 1, today=lambda: day[0])

    def sample(of: UserContext) -> list[int]:
        rows: list[int] = source.retrieve([of], 20, allowed)[0].items.rows.tolist()
        return rows

    first, by_query = sample(user(seed=7)), sample(user(query="bread"))
    assert sample(user(seed=7, query="bread")) == first
    assert sample(user(seed=8)) != first
    assert sample(user(query="bread")) == by_query
    assert sample(user(query="roll")) != by_query
    day[0] = 2
    assert sample(user(seed=7)) != first


@pytest.mark.parametrize(("max_popularity", "items"), [(0.5, 0), (1.0, 5)])
def test_only_items_up_to_the_popularity_are_sampled(shop: FirstStage, max_popularity: float, items: int):
    """If every item is more popular than the bound and none is new, nothing is sampled."""
    source = ExplorationSource(np.ones(8, np.float32), max_popularity, today=lambda: 1)
    assert len(source.retrieve([user(seed=1)], 5, everything(shop))[0].items.rows) == items
