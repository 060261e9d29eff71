"""Features of prices and times are what their definitions say; what is unknown is missing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.release.event_weights import EventKind, EventWeights
from services.ranking.features.feature_context import HalfLives
from services.ranking.features.feature_set import FeatureSet
from services.ranking.request import CandidateRows, UserRows

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAN = math.nan
PRICES = [1.0, 3.0, NAN, 0.0, 20.0, 7.5]
CATEGORIES = [0, 0, 1, 1, -1, 1]
WEIGHTS = EventWeights(weights={"view": 0.25, "purchase": 1.0}, targets=("purchase",))
COUNTS = {EventKind.VIEW: 0.25, EventKind.PURCHASE: 1.0}
AGE_S = st.one_of(st.just(NAN), st.floats(0, 1e7, width=32))
EVENT = st.tuples(st.integers(0, 5), st.sampled_from(sorted(COUNTS)), AGE_S)
Events = list[tuple[int, EventKind, float]]


class _Tables:
    """Six items: one without a price, one without a category."""

    def has_column(self, column: str) -> bool:
        """There is one column."""
        return column == "category"

    def codes(self, _: str) -> Any:
        """The categories."""
        return np.array(CATEGORIES)

    def log_prices(self) -> Any:
        """The logarithms of the prices."""
        return np.log1p(np.array(PRICES))


def _mean(pairs: list[tuple[float, float]]) -> float:
    """Return the weighted mean of log prices that are known, NaN without one."""
    known = [(weight, math.log1p(price)) for weight, price in pairs if not math.isnan(price)]
    total = sum(weight for weight, _ in known)
    return sum(weight * log for weight, log in known) / total if known else NAN


def _days(history: Events, same: Any) -> list[float]:
    bought = [age for item, kind, age in history if kind is EventKind.PURCHASE and same(item)]
    return [age / 86_400 for age in bought if not math.isnan(age)]


def _expected(history: Events, row: int) -> dict[str, float]:
    ages = [sum(COUNTS[kind] for _, kind, _ in history[place + 1 :]) for place in range(len(history))]
    weights = [COUNTS[kind] * 0.5 ** (age / 6) for (_, kind, _), age in zip(history, ages, strict=True)]
    prices = [(weight, PRICES[item], CATEGORIES[item]) for (item, _, _), weight in zip(history, weights, strict=True)]
    price, category = math.log1p(PRICES[row]), CATEGORIES[row]
    own = _days(history, lambda item: item == row)
    count = sum(item == row and kind is EventKind.PURCHASE for item, kind, _ in history)
    gap = (max(own) - min(own)) / (count - 1) if own and count > 1 else NAN
    in_category = _days(history, lambda item: CATEGORIES[item] == category)
    return {
        "price": price,
        "price_level": price - _mean([(weight, other) for weight, other, _ in prices]),
        "category_price_level": price - _mean([(weight, other) for weight, other, code in prices if code == category])
        if category >= 0
        else NAN,
        "last_days": min(own, default=NAN),
        "due_days": min(own) / gap if own and gap > 0 else NAN,
        "category_last_days": min(in_category, default=NAN) if category >= 0 else NAN,
        "idle_days": min((age / 86_400 for _, _, age in history if not math.isnan(age)), default=NAN),
    }


NAMES = list(_expected([], 0))


@UNHURRIED
@given(st.lists(EVENT, max_size=12))
def test_prices_and_days_are_what_their_definitions_say(history: Events):
    """Prices compare with the weighted history, days count from purchases; NaN for what is not known, never zero."""
    features = FeatureSet(NAMES, _Tables(), HalfLives(long=6.0, short=2.0))  # type: ignore[arg-type]  # a fake
    items, kinds, ages = zip(*history, strict=True) if history else ((), (), ())
    user = UserRows.from_history(np.array(items, np.int64), "", WEIGHTS, [int(kind) for kind in kinds], ages)
    matrix = features.matrix(user, CandidateRows.from_rows(np.arange(6)))
    expected = [[_expected(history, row)[name] for name in NAMES] for row in range(6)]
    np.testing.assert_allclose(matrix, expected, rtol=1e-4, atol=1e-6, err_msg=str(NAMES))


def test_without_times_and_rows_everything_is_missing():
    """A caller that sends no ages, and an item that the release does not have, give NaN."""
    features = FeatureSet(NAMES, _Tables())  # type: ignore[arg-type]  # a fake
    user = UserRows(np.array([0, 1]))
    known, unknown = features.matrix(user, CandidateRows.from_rows(np.array([0, -1])))
    days = [NAMES.index(name) for name in NAMES if name.endswith("days")]
    assert np.isnan(known[days]).all()
    assert np.isnan(unknown[[place for place, name in enumerate(NAMES) if name != "idle_days"]]).all()
