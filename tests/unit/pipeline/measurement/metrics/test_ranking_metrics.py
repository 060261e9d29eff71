"""The measures agree with cases worked by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from common.errors import InvalidRequest
from pipeline.measurement.metrics.ranking_metrics import bootstrap_interval, evaluate, paired_bootstrap, paired_p_value

# The relevant items stand at ranks 2 and 4; a third is not found.
RANKING = {"u": ["x", "a", "y", "b", "z"]}
RELEVANT = {"u": {"a", "b", "c"}}


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("hr@1", 0.0),
        ("hr@2", 1.0),
        ("recall@3", 1 / 3),
        ("recall@5", 2 / 3),
        ("precision@2", 1 / 2),
        ("precision@10", 2 / 10),
        ("mrr", 1 / 2),
        ("mrr@1", 0.0),
        ("mrr@2", 1 / 2),
        ("map", (1 / 2 + 2 / 4) / 3),
        ("map@2", (1 / 2) / 3),
        ("ndcg@3", (1 / log2(3)) / (1 + 1 / log2(3) + 1 / log2(4))),
        ("ndcg@5", (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4))),
    ],
)
def test_binary_measures_by_hand(measure: str, expected: float):
    """Each measure has the value that its definition gives on a list of five."""
    assert evaluate(RANKING, RELEVANT, [measure])[measure] == pytest.approx([expected])


def test_graded_ndcg_takes_the_grade_as_gain():
    """Grades that are means of raters count as they are."""
    graded = {"q": {"a": 2.0, "b": 1.667, "c": 0.333, "d": 0.0}}
    dcg = 1.667 + 0.333 / log2(3) + 2.0 / log2(4)
    best = 2.0 + 1.667 / log2(3) + 0.333 / log2(4)
    found = evaluate({"q": ["b", "c", "a", "d"]}, graded, ["ndcg@10"])
    assert found["ndcg@10"] == pytest.approx([dcg / best], abs=1e-6)


def test_relevant_from_is_the_lowest_relevant_grade():
    """Binary measures count grades from the threshold on, NDCG counts all."""
    graded = {"q": {"a": 2.0, "b": 1.0}}
    rankings = {"q": ["b", "a"]}
    assert evaluate(rankings, graded, ["hr@1"])["hr@1"] == [1.0]
    strict = evaluate(rankings, graded, ["hr@1", "recall@2", "mrr@10", "ndcg@1"], relevant_from=2.0)
    assert [strict[name][0] for name in ("hr@1", "recall@2", "mrr@10", "ndcg@1")] == [0.0, 1.0, 0.5, 0.5]


def test_users_keep_their_order_and_one_without_ranking_counts_as_zero():
    """Scores follow the order of the relevance; a missing list is a failure, not an exemption."""
    relevance = {"w": {"a"}, "u": {"a"}, "v": {"a"}}
    found = evaluate({"v": ["a"], "u": ["b", "a"], "stranger": ["a"]}, relevance, ["mrr", "hr@1"])
    assert found["mrr"].tolist() == [0.0, 0.5, 1.0]
    assert found["hr@1"].tolist() == [0.0, 0.0, 1.0]


def test_without_any_ranking_everything_is_zero():
    """No list at all gives zeros of the right length."""
    assert evaluate({}, RELEVANT, ["ndcg@10"])["ndcg@10"].tolist() == [0.0]


@pytest.mark.parametrize("measure", ["ndcg", "hr@0", "recall@-1", "accuracy@10", "hr@", "mrr@x", ""])
def test_an_unknown_measure_is_refused(measure: str):
    """A measure that does not exist is named with those that do."""
    with pytest.raises(InvalidRequest, match="the known ones are ndcg@k, hr@k"):
        evaluate(RANKING, RELEVANT, [measure])


def test_a_list_that_names_an_item_twice_is_refused():
    """A repeated item would be counted twice, so it is an error."""
    with pytest.raises(InvalidRequest, match="ranking of 'u' names an item twice"):
        evaluate({"u": ["a", "a"]}, RELEVANT, ["hr@1"])


@pytest.mark.parametrize("judged", [{}, {"a": 0.0}])
def test_a_user_without_a_relevant_item_is_refused(judged: dict[str, float]):
    """Nothing can be measured there; the caller decides whom to leave out."""
    with pytest.raises(InvalidRequest, match="'u' has no relevant item"):
        evaluate(RANKING, {"u": judged}, ["hr@1"])


def test_a_negative_grade_is_refused():
    """Grades are 0 and up."""
    with pytest.raises(InvalidRequest, match="negative grade"):
        evaluate(RANKING, {"u": {"a": 1.0, "b": -1.0}}, ["hr@1"])


def test_the_bootstrap_interval_is_near_the_normal_one():
    """For many scores the interval is the mean with 1.96 standard errors on both sides."""
    scores = np.random.default_rng(3).normal(5.0, 2.0, 400)
    found = bootstrap_interval(scores, seed=1)
    margin = 1.96 * scores.std() / np.sqrt(len(scores))
    assert found.mean == pytest.approx(scores.mean())
    assert (found.low, found.high) == pytest.approx((found.mean - margin, found.mean + margin), abs=0.03)


def test_a_paired_difference_is_seen_where_the_users_differ_more_than_the_systems():
    """Pairing sees a small steady gain that unpaired intervals would hide."""
    draws = np.random.default_rng(4)
    weaker = draws.uniform(0, 1, 300)
    stronger = weaker + 0.02 + draws.normal(0, 0.01, 300)
    found = paired_bootstrap(stronger, weaker, seed=1)
    assert 0 < found.low < found.mean < found.high
    assert bootstrap_interval(stronger, seed=1).low < bootstrap_interval(weaker, seed=1).high


def test_unpaired_or_missing_scores_are_refused():
    """Scores of different users cannot be paired, and no scores have no interval."""
    with pytest.raises(InvalidRequest, match="there are 2 and 3 scores"):
        paired_bootstrap(np.zeros(2), np.zeros(3), seed=1)
    with pytest.raises(InvalidRequest, match="no scores"):
        bootstrap_interval(np.zeros(0), seed=1)


def test_p_value_counts_all_flips_of_few_differences():
    """Of three equal differences, two of the eight ways to flip are as extreme; equal pairs say nothing."""
    a, b = np.array([1.0, 1.0, 1.0, 0.5]), np.array([0.0, 0.0, 0.0, 0.5])
    assert paired_p_value(a, b, seed=1) == pytest.approx(2 / 8, abs=0.02)
    assert paired_p_value(a, a, seed=1) == 1.0


def test_p_value_is_small_for_a_steady_gain_and_the_same_for_a_loss():
    """A gain of everybody is beyond chance, in either direction."""
    a = np.linspace(0, 1, 40)
    assert paired_p_value(a + 0.1, a, seed=1) == paired_p_value(a, a + 0.1, seed=1) == pytest.approx(1 / 5_001)
