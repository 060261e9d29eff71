"""Features of histories with kinds of event are what their definitions say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.release.event_weights import EventKind, EventWeights
from services.ranking.features.feature_context import HalfLives
from services.ranking.features.feature_set import FeatureSet
from services.ranking.request import CandidateRows, UserRows

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ITEMS, NAN = 6, math.nan
WEIGHTS = EventWeights(weights={"view": 0.25, "cart": 0.5, "purchase": 1.0}, targets=("purchase",))
COUNTS = {EventKind.VIEW: 0.25, EventKind.CART: 0.5, EventKind.PURCHASE: 1.0}
EVENT = st.tuples(st.integers(0, ITEMS - 1), st.sampled_from(sorted(COUNTS)))
LIVES = HalfLives(long=6.0, short=2.0)


class _Tables:
    """Six items in three categories."""

    def has_column(self, column: str) -> bool:
        """There is one column."""
        return column == "category"

    def codes(self, _: str) -> Any:
        """Two items of each category."""
        return np.arange(ITEMS) // 2


def _expected(history: list[tuple[int, EventKind]], row: int) -> dict[str, float]:
    """Return a candidate's features one at a time."""
    ages = [sum(COUNTS[kind] for _, kind in history[place + 1 :]) for place in range(len(history))]
    events = [(item, COUNTS[kind], age) for (item, kind), age in zip(history, ages, strict=True)]
    own = [(weight, age) for item, weight, age in events if item == row]
    bought = [age for weight, age in own if weight == 1]
    looked = [(weight, age) for weight, age in own if weight < 1]
    group = [(weight, age) for item, weight, age in events if item // 2 == row // 2]
    group_bought = [age for weight, age in group if weight == 1]
    purchases = sum(weight == 1 for _, weight, _ in events)
    total = sum(weight for _, weight, _ in events)
    gap = (max(bought) - min(bought)) / (len(bought) - 1) if len(bought) > 1 else NAN
    return {
        "history_events": purchases,
        "repeat_count": len(bought),
        "repeat_share": len(bought) / max(purchases, 1),
        "last_age": min(bought, default=NAN),
        "first_age": max(bought, default=NAN),
        "last_share": min(bought, default=NAN) / max(total, 1),
        "mean_gap": gap,
        "due": min(bought, default=NAN) / gap if gap > 0 else NAN,
        "decayed_long": sum(weight * 0.5 ** (age / 6) for weight, age in own),
        "decayed_short": sum(weight * 0.5 ** (age / 2) for weight, age in own),
        "category_affinity": sum(weight * 0.5 ** (age / 6) for weight, age in group)
        / max(sum(weight * 0.5 ** (age / 6) for _, weight, age in events), 1e-9),
        "category_count": len(group_bought),
        "category_last_age": min(group_bought, default=NAN),
        "category_loyalty": len(bought) / len(group_bought) if group_bought else NAN,
        "interest_events": len(events) - purchases,
        "interest_strongest": max((weight for weight, _ in looked), default=0.0),
        "interest_weight": sum(weight * 0.5 ** (age / 2) for weight, age in looked),
        "interest_last_age": min((age for _, age in looked), default=NAN),
    }


NAMES = list(_expected([(0, EventKind.VIEW)], 0))


@UNHURRIED
@given(st.lists(EVENT, max_size=15), st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=6))
def test_views_count_by_their_weight_and_never_as_purchases(history: list[tuple[int, EventKind]], rows: list[int]):
    """Counts and ages are of purchases; weights are of all events; an event ages others by what it counts."""
    features = FeatureSet(NAMES, _Tables(), LIVES)  # type: ignore[arg-type]  # a fake
    items, kinds = np.array([item for item, _ in history], np.int64), [int(kind) for _, kind in history]
    user = UserRows.from_history(items, "", WEIGHTS, kinds)
    matrix = features.matrix(user, CandidateRows.from_rows(np.array(rows)))
    expected = [[_expected(history, row)[name] for name in NAMES] for row in rows]
    np.testing.assert_allclose(matrix, expected, rtol=1e-5, atol=1e-6, err_msg=str(NAMES))


def test_counting_views_as_purchases_would_be_wrong():
    """An item that was looked at five times was not bought once."""
    features = FeatureSet(["repeat_count", "last_age"], _Tables(), LIVES)  # type: ignore[arg-type]  # a fake
    rows = np.zeros(5, np.int64)
    for weights, expected in ((WEIGHTS, [0, NAN]), (EventWeights(), [5, 0])):
        user = UserRows.from_history(rows, "", weights, [EventKind.VIEW] * 5)
        np.testing.assert_array_equal(features.matrix(user, CandidateRows.from_rows(rows[:1]))[0], expected)


@pytest.mark.parametrize("kinds", [[], [0, 0, 0], [3, 3, 3]])
def test_purchases_have_the_features_they_always_had(kinds: list[int]):
    """Without kinds, with unknown ones and with purchases, the features are the same to the bit."""
    names, rows = [name for name in NAMES if not name.startswith("interest")], np.array([1, 2, 1])
    features = FeatureSet(names, _Tables(), LIVES)  # type: ignore[arg-type]  # a fake
    candidates = CandidateRows.from_rows(np.arange(ITEMS))
    given_kinds = features.matrix(UserRows.from_history(rows, "", WEIGHTS, kinds), candidates)
    assert given_kinds.tobytes() == features.matrix(UserRows(rows), candidates).tobytes()
