"""What holds of the measures for every ranking."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measurement.metrics.ranking_metrics import bootstrap_interval, evaluate, paired_bootstrap

CATALOGUE = [f"i{number}" for number in range(12)]
MEASURES = ["ndcg@5", "hr@5", "recall@5", "precision@5", "mrr", "map"]
rankings = st.lists(st.sampled_from(CATALOGUE), unique=True, min_size=1, max_size=12)
grades = st.dictionaries(st.sampled_from(CATALOGUE), st.sampled_from([0.333, 1.0, 1.667, 2.0]), min_size=1)
scores = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)


def measured(ranking: list[str], judged: dict[str, float], measures: list[str]) -> dict[str, float]:
    """Return one user's measures."""
    found = evaluate({"u": ranking}, {"u": judged}, measures)
    return {name: float(values[0]) for name, values in found.items()}


@given(ranking=rankings, judged=grades)
def test_every_measure_lies_between_0_and_1(ranking: list[str], judged: dict[str, float]):
    """No ranking is worse than nothing or better than perfect."""
    assert all(0 <= value <= 1 + 1e-9 for value in measured(ranking, judged, MEASURES).values())


@given(judged=grades)
def test_the_ideal_order_has_ndcg_1(judged: dict[str, float]):
    """Items by falling grade are a perfect ranking."""
    ideal = sorted(judged, key=lambda item: -judged[item])
    assert abs(measured(ideal, judged, ["ndcg@12"])["ndcg@12"] - 1) < 1e-9


@given(ranking=rankings, judged=grades, rank=st.integers(0, 10))
def test_moving_a_better_item_up_never_lowers_a_measure(ranking: list[str], judged: dict[str, float], rank: int):
    """Swapping two neighbours into the right order helps or changes nothing."""
    if rank + 1 >= len(ranking) or judged.get(ranking[rank], 0) >= judged.get(ranking[rank + 1], 0):
        return
    better = [*ranking[:rank], ranking[rank + 1], ranking[rank], *ranking[rank + 2 :]]
    before, after = measured(ranking, judged, MEASURES), measured(better, judged, MEASURES)
    assert all(after[name] >= before[name] - 1e-9 for name in MEASURES)


@given(ranking=rankings, judged=grades)
def test_hit_rate_and_recall_grow_with_the_cutoff(ranking: list[str], judged: dict[str, float]):
    """A longer list finds at least as much."""
    found = measured(ranking, judged, [f"{name}@{k}" for name in ("hr", "recall") for k in (1, 3, 12)])
    for name in ("hr", "recall"):
        assert found[f"{name}@1"] <= found[f"{name}@3"] <= found[f"{name}@12"]


@given(ranking=rankings, judged=grades, factor=st.sampled_from([2.0, 5.0]))
def test_ndcg_does_not_change_when_every_grade_is_multiplied(
    ranking: list[str], judged: dict[str, float], factor: float
):
    """Only the grades' proportions matter."""
    scaled = {item: grade * factor for item, grade in judged.items()}
    assert abs(measured(ranking, scaled, ["ndcg@5"])["ndcg@5"] - measured(ranking, judged, ["ndcg@5"])["ndcg@5"]) < 1e-9


@given(values=scores, seed=st.integers(0, 99))
def test_an_interval_is_reproducible_and_within_the_scores(values: np.ndarray, seed: int):
    """The same seed gives the same bounds, which never leave the range of the scores."""
    found = bootstrap_interval(values, seed=seed, resamples=50)
    assert found == bootstrap_interval(values, seed=seed, resamples=50)
    assert values.min() - 1e-9 <= found.low <= found.high <= values.max() + 1e-9


@given(values=scores, gain=st.floats(0.01, 1))
def test_a_system_that_is_better_for_everyone_is_better_for_sure(values: np.ndarray, gain: float):
    """A gain that everyone has is the whole interval, and the other way round its negative."""
    better, worse = (paired_bootstrap(values + sign * gain, values, seed=1, resamples=50) for sign in (1, -1))
    assert abs(better.low - gain) < 1e-9
    assert abs(better.high - gain) < 1e-9
    assert worse.high < 0
