"""What events of a history count by their kinds."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from common.errors import InvalidRequest
from common.release.event_weights import EQUAL_WEIGHTS, EventKind, EventWeights, check_kinds

SHOP = EventWeights(weights={"view": 0.1, "cart": 0.5, "purchase": 1.0}, targets=("purchase",))
VIEW, CART, PURCHASE = int(EventKind.VIEW), int(EventKind.CART), int(EventKind.PURCHASE)


def test_each_event_counts_what_its_kind_does():
    """Purchases are of the target; an unknown kind is a purchase."""
    events = SHOP.weigh([VIEW, PURCHASE, 0, CART], 4)
    assert events.weights.tolist() == pytest.approx([0.1, 1.0, 1.0, 0.5])
    assert events.targets.tolist() == [False, True, True, False]


def test_without_kinds_every_event_is_a_purchase():
    """A caller that names no kinds gets what it got before there were any."""
    events = SHOP.weigh([], 3)
    assert (events.weights.tolist(), events.targets.tolist()) == ([1.0] * 3, [True] * 3)


def test_a_release_without_weights_counts_every_kind_alike():
    """Releases that know no kinds go on as they were built: a view is one event of the target."""
    events = EQUAL_WEIGHTS.weigh([VIEW, PURCHASE], 2)
    assert (events.weights.tolist(), events.targets.tolist()) == ([1.0, 1.0], [True, True])


@pytest.mark.parametrize("weights", [{"view": -0.1}, {"view": float("inf")}, {"purchase": 2.0}])
def test_bad_weights_are_refused(weights: dict[str, float]):
    """A weight is finite and not negative, and a purchase is the measure of the others."""
    with pytest.raises(ValidationError, match=r"weights\."):
        EventWeights(weights=weights)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ([VIEW], r"history_kinds: 1 given for 2 items; give one for each, or none"),
        ([PURCHASE, EventKind.SEARCH], r"history_kinds\[1\]: 4 is no kind of event in a history"),
        ([99, PURCHASE], r"history_kinds\[0\]: 99 is no kind of event in a history"),
    ],
)
def test_kinds_that_fit_no_history_are_refused(kinds: list[int], message: str):
    """The message names the field, the position and what to give."""
    with pytest.raises(InvalidRequest, match=message):
        check_kinds("history_kinds", kinds, 2)


def test_known_kinds_and_none_pass():
    """One kind for each item, or none at all."""
    check_kinds("history_kinds", [0, VIEW], 2)
    check_kinds("history_kinds", [], 2)
