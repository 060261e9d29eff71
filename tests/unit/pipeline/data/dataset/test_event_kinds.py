"""Which events count, and how much."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from common.errors import InvalidRequest
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import (
    DEFAULT_WEIGHTS,
    KIND,
    TARGET,
    WEIGHT,
    kinds_to_learn,
    left_out,
    read_weights,
    target_events,
    weigh_events,
    weights_for,
)

MakeDataset = Callable[..., Dataset]


def _of_kinds(dataset: Dataset, *kinds: str) -> Dataset:
    events = dataset.events.head(len(kinds)).with_columns(pl.Series("event", kinds))
    return Dataset(dataset.items, events, None, dataset.report)


def test_purchases_alone_are_left_as_they_are(make_dataset: MakeDataset):
    """Data of one kind is the same object: nothing can have changed."""
    dataset = make_dataset()
    assert weigh_events(dataset, weights_for(["purchase"], {})) is dataset


def test_events_get_their_weights_and_what_never_counts_is_left_out(make_dataset: MakeDataset):
    """A view is no target; an impression, and a kind that the contract does not know, is left out and counted."""
    dataset = _of_kinds(make_dataset(), "view", "purchase", "impression", "subscribe")
    weights = weights_for(dataset.events["event"].unique(), {"view": 0.25})
    weighed = weigh_events(dataset, weights).events
    found = weighed.select("event", WEIGHT, TARGET, KIND).rows()
    assert found == [("view", 0.25, False, 1), ("purchase", 1.0, True, 3)]
    assert target_events(weighed)["event"].to_list() == ["purchase"]
    assert left_out(dataset, weights) == {"impression": 1, "subscribe": 1}


def test_impressions_beside_purchases_leave_plain_purchases(make_dataset: MakeDataset):
    """Without a second kind that counts there is nothing to weigh."""
    dataset = make_dataset()
    shown = dataset.events.with_columns(pl.lit("impression").alias("event"))
    both = Dataset(dataset.items, pl.concat([dataset.events, shown]), None, dataset.report)
    assert_frame_equal(weigh_events(both, weights_for(["purchase"], {})).events, dataset.events)


def test_a_weight_of_zero_leaves_a_kind_out(make_dataset: MakeDataset):
    """What counts nothing is not in the tables and in no history."""
    dataset = _of_kinds(make_dataset(), "view", "purchase", "view", "purchase")
    weights = weights_for(["view", "purchase"], {"view": 0.0})
    weighed = weigh_events(dataset, weights).events
    assert weighed["event"].to_list() == ["purchase", "purchase"]
    assert WEIGHT not in weighed.columns
    assert left_out(dataset, weights) == {"view": 2}


@pytest.mark.parametrize(
    ("kinds", "targets"),
    [
        (["view", "cart", "purchase"], ("purchase",)),
        (["view", "cart"], ("cart", "rating", "purchase")),
        (["view", "rating"], ("rating", "purchase")),
        (["view"], ("view", "favourite", "cart", "rating", "purchase")),
        (["listen"], ("view", "favourite", "cart", "rating", "purchase")),
    ],
)
def test_the_target_is_a_purchase_or_the_strongest_kind(kinds: list[str], targets: tuple[str, ...]):
    """Without purchases the strongest kind that there is takes their place, and counts 1."""
    weights = weights_for(kinds, {"view": 0.2})
    assert weights.targets == targets
    assert {weights.weights[kind] for kind in targets} == {1.0}


def test_a_kind_of_its_own_is_the_target_where_there_is_no_other(make_dataset: MakeDataset):
    """A shop that calls its one kind of event by its own word loses none of them."""
    dataset = _of_kinds(make_dataset(), "listen", "listen", "listen")
    assert weigh_events(dataset, weights_for(["listen"], {})) is dataset


def test_kinds_beside_the_target_are_learned_unless_stated(make_dataset: MakeDataset):
    """Neither the target nor what is stated is learned; others have a default until they are."""
    events = _of_kinds(make_dataset(), "view", "cart", "purchase").events
    assert kinds_to_learn(events, {"cart": 0.3}) == ["view"]
    assert kinds_to_learn(events.filter(pl.col("event") == "purchase"), {}) == []
    assert weights_for(["view", "purchase"], {}).weights["view"] == DEFAULT_WEIGHTS["view"]


def test_weights_are_read_from_pairs():
    """As `--event-weight` gives them."""
    assert read_weights(["view=0.1", "cart = 0.5", "impression=0"]) == {"view": 0.1, "cart": 0.5, "impression": 0.0}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("view", "'view' is no kind and number, such as view=0.1"),
        ("view=much", "'view=much' is no kind and number"),
        ("look=1", "'look' is no kind of event; the kinds are view, favourite"),
        ("view=-1", "view must be 0 or more and finite, is -1"),
        ("view=nan", "view must be 0 or more and finite"),
        ("impression=0.1", "impression must be 0"),
        ("refund=1", "refund must be 0"),
        ("purchase=2", "purchase must be 1; weigh the other kinds against it"),
    ],
)
def test_bad_weights_are_refused(pair: str, message: str):
    """The message names the kind and what is right."""
    with pytest.raises(InvalidRequest, match=message):
        read_weights([pair])
