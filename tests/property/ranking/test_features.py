"""The vectorised features are what their definitions say, candidate by candidate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import BadRelease
from common.release.item_graph import ItemGraph
from services.ranking.features.feature_context import HalfLives
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import EmbeddingTable
from services.ranking.request import CandidateRows, UserRows

# A busy machine is no fault.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ITEMS = 12
LIVES = HalfLives(long=6.0, short=2.0)
NAN = math.nan


class FakeTables:
    """A dozen items in four categories, one of them missing, with three texts and a ring of transitions."""

    def __init__(self) -> None:
        self.category = np.arange(ITEMS) % 5 - 1
        self.text_of = np.arange(ITEMS) // 4
        self.texts = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], dtype=np.float32)
        self.wanted = np.arange(ITEMS, dtype=np.float32)

    def has_column(self, column: str) -> bool:
        """There is one column."""
        return column == "category"

    def codes(self, column: str):
        """Categories, -1 where missing."""
        assert column == "category"
        return self.category

    def popularity(self):
        """The later the row, the more wanted."""
        return self.wanted

    def popularity_rank(self):
        """Share of the items that are more wanted."""
        return (ITEMS - 1 - self.wanted) / ITEMS

    def embeddings(self) -> EmbeddingTable:
        """Three texts."""
        return EmbeddingTable(self.texts, self.text_of)

    def graph(self, name: str) -> ItemGraph:
        """A ring."""
        if name != "ring":
            raise BadRelease("no such graph")
        after = (np.arange(ITEMS, dtype=np.int32) + 1) % ITEMS
        return ItemGraph(np.arange(ITEMS + 1), after, np.full(ITEMS, 0.5, np.float32))


TABLES = FakeTables()
ROWS = st.integers(0, ITEMS - 1)
SCORES = st.one_of(st.just(NAN), st.floats(-5, 5, width=32))


def _seen(history: list[int], same: Any) -> Any:
    """Return count, long and short weight, last and first age of the events that are the same."""
    ages = [len(history) - 1 - place for place, row in enumerate(history) if same(row)]
    long, short = sum(0.5 ** (age / 6) for age in ages), sum(0.5 ** (age / 2) for age in ages)
    return (len(ages), long, short, min(ages, default=NAN), max(ages, default=NAN))


def _expected(history: list[int], row: Any, query: str) -> Any:
    """Return a candidate's features by their definitions, one at a time."""
    events = len(history)
    base = {
        "history_events": events,
        "history_items": len(set(history)),
        "variety": len(set(history)) / max(events, 1),
        "has_query": float(bool(query.strip())),
    }
    if row < 0:
        return base
    count, long, short, last, first = _seen(history, lambda other: other == row)
    gap = (first - last) / (count - 1) if count > 1 else NAN
    category = TABLES.category[row]
    total = sum(0.5 ** (age / 6) for age in range(events))
    in_category = _seen(history, lambda other: TABLES.category[other] == category)
    group = {}
    if category >= 0:
        group = {
            "category_affinity": in_category[1] / max(total, 1e-9),
            "category_count": in_category[0],
            "category_last_age": in_category[3],
            "category_loyalty": count / in_category[0] if in_category[0] else NAN,
            "category_due": in_category[3] * in_category[0] / max(events, 1),
        }
    before = _seen(history, lambda other: (other + 1) % ITEMS == row)
    texts = [text for text in {TABLES.text_of[other] for other in history} if text != TABLES.text_of[row]]
    cosines = [float(TABLES.texts[TABLES.text_of[row]] @ TABLES.texts[text]) for text in texts]
    return {
        **base,
        **group,
        "repeat_count": count,
        "repeat_share": count / max(events, 1),
        "last_age": last,
        "last_share": last / max(events, 1),
        "first_age": first,
        "mean_gap": gap,
        "due": last / gap if gap > 0 else NAN,
        "decayed_long": long,
        "decayed_short": short,
        "popularity": math.log1p(row),
        "popularity_rank": (ITEMS - 1 - row) / ITEMS,
        "graph_ring_long": 0.5 * before[1] / total if events else NAN,
        "graph_ring_last": 0.5 * float(before[3] == 0) if events else NAN,
        "similarity_max": max(cosines, default=NAN),
        "similarity_mean": sum(cosines) / len(cosines) if cosines else NAN,
    }


NAMES = sorted(_expected([1, 0, 1], 1, ""))


@UNHURRIED
@given(
    st.lists(ROWS, max_size=20),
    st.lists(st.integers(-1, ITEMS - 1), min_size=1, max_size=10),
    st.sampled_from(["", " ", "milk"]),
)
def test_features_are_what_their_definitions_say(history: list[int], rows: Any, query: str):
    """Each feature equals its one-at-a-time definition; missing is NaN, duplicates and unknown items included."""
    features = FeatureSet(NAMES, TABLES, LIVES)
    matrix = features.matrix(UserRows(np.array(history, np.int64), query), CandidateRows.from_rows(np.array(rows)))
    for place, row in enumerate(rows):
        expected = _expected(history, row, query)
        np.testing.assert_allclose(
            matrix[place], [expected.get(name, NAN) for name in NAMES], rtol=1e-5, atol=1e-6, err_msg=str(NAMES)
        )


@UNHURRIED
@given(st.lists(st.tuples(ROWS, SCORES, SCORES, SCORES), min_size=1, max_size=10))
def test_scores_pass_through_with_rank_and_share(candidates: CandidateRows):
    """Source scores, their share of the best, fused scores and logits; what is missing stays NaN."""
    rows, fused, semantic, logits = (np.array(column) for column in zip(*candidates, strict=True))
    names = [
        "fused",
        "fused_rank",
        "source_semantic",
        "relative_semantic",
        "source_other",
        "logit",
        "logit_rank",
        "logit_deviation",
    ]
    features = FeatureSet(names, TABLES, LIVES)
    assert features.sources == {"semantic", "other"}
    asked = CandidateRows(rows, fused, {"semantic": semantic})
    matrix = features.matrix(UserRows(np.empty(0, np.int64)), asked, logits)
    best = np.nanmax(semantic, initial=-np.inf)
    relative = semantic / best if best > 1e-9 else np.full(len(rows), NAN)
    mean = np.mean(logits[~np.isnan(logits)]) if (~np.isnan(logits)).any() else NAN
    expected = [
        fused,
        _ranks(fused),
        semantic,
        relative,
        np.full(len(rows), NAN),
        logits,
        _ranks(logits),
        logits - mean,
    ]
    np.testing.assert_allclose(matrix, np.stack(expected, 1), rtol=1e-5, atol=1e-5)
    blind = features.matrix(UserRows(np.empty(0, np.int64)), asked)
    assert np.isnan(blind[:, -3:]).all()
    np.testing.assert_array_equal(features.with_logits(blind, logits), matrix)


def _ranks(values: Any) -> Any:
    order = sorted(
        (place for place in range(len(values)) if not math.isnan(values[place])), key=lambda p: (-values[p], p)
    )
    return [order.index(place) if place in order else NAN for place in range(len(values))]


@UNHURRIED
@given(st.lists(ROWS, max_size=20), st.lists(ROWS, min_size=2, max_size=10, unique=True))
def test_order_of_candidates_does_not_matter(history: list[int], rows: Any):
    """Turning the candidates round turns the rows of the matrix round."""
    features, user = FeatureSet(NAMES, TABLES, LIVES), UserRows(np.array(history, np.int64))
    matrix = features.matrix(user, CandidateRows.from_rows(np.array(rows)))
    turned = features.matrix(user, CandidateRows.from_rows(np.array(rows[::-1])))
    np.testing.assert_allclose(matrix, turned[::-1], rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["phase_of_the_moon", "shelf_affinity", "graph_square_long", "graph_ring_often", "source_"]
)
def test_unknown_features_are_refused(name: str):
    """A feature that can't be computed from the release is named when the release is loaded."""
    with pytest.raises(BadRelease):
        FeatureSet(["repeat_count", name], TABLES, LIVES)
