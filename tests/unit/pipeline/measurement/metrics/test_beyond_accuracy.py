"""The measures beyond ranking agree with cases worked by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measurement.metrics.beyond_accuracy import (
    auc_of_list,
    concentration,
    diversity,
    exposure,
    f1,
    gini,
    measure_answers,
)
from pipeline.measurement.metrics.item_popularity import ItemPopularity, band_of
from pipeline.measurement.questions.answers import Answer
from pipeline.measurement.questions.protocols import Question


def answer(*items: str) -> Answer:
    """Return an answer without probabilities."""
    return Answer(list(items), np.full(len(items), np.nan), {})


def test_f1_is_the_harmonic_mean_and_zero_where_nothing_is_found():
    """Precision 1/5 and recall 1/2 give 2/7."""
    assert f1(np.array([0.2, 0.0]), np.array([0.5, 0.0])).tolist() == pytest.approx([2 / 7, 0.0])


@pytest.mark.parametrize(
    ("ranking", "relevant", "expected"),
    [
        (["a", "x", "y"], {"a"}, 1.0),  # first of five: before all four others
        (["x", "a", "y"], {"a"}, 3 / 4),  # one other before it
        (["x", "y"], {"a"}, 2 / 2 / 4),  # not shown: ties with the two others that are not shown either
        (["x", "a"], {"a", "b"}, (2 + 2 / 2) / 6),  # a is before two of three, b ties with two
        ([], {"a"}, 0.5),
        (["a"], set(), 0.5),
    ],
)
def test_auc_of_a_list_counts_pairs(ranking: list[str], relevant: set[str], expected: float):
    """Of all pairs of a wanted and another item of five, those in the right order count, ties half."""
    assert auc_of_list(ranking, relevant, 5) == pytest.approx(expected)


@given(st.permutations(list("abcdef")), st.sets(st.sampled_from("abcdef"), min_size=1, max_size=5))
def test_auc_of_a_whole_list_is_that_of_its_reverse_mirrored(ranking: list[str], relevant: set[str]):
    """Where everything is ranked, turning the list round turns right pairs into wrong ones."""
    mirrored = auc_of_list(ranking[::-1], relevant, 6)
    assert auc_of_list(ranking, relevant, 6) == pytest.approx(1 - mirrored)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([1, 1, 1, 1], 0.0), ([0, 0, 0, 4], 3 / 4), ([1, 3], 1 / 4), ([0, 0], 0.0)],
)
def test_gini_by_hand(counts: list[int], expected: float):
    """Equal exposure is 0, one item of n alone is 1 - 1/n."""
    assert gini(np.array(counts)) == pytest.approx(expected)


def test_diversity_is_one_minus_the_mean_cosine_of_pairs():
    """Of two equal vectors and one across, the three pairs have cosines 1, 0 and 0."""
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert diversity(vectors) == pytest.approx(1 - 1 / 3)
    assert diversity(vectors[:1]) == 0.0


def test_bands_part_at_the_median_and_the_best_tenth():
    """Ties fall on one side: items at the median are not under it, items equal to the best tenth's last are in it."""
    band = band_of(np.array([0, 1, 2, 3, 4, 5, 6, 7, 9, 9], np.float64))
    assert band.tolist() == [2, 2, 2, 2, 2, 1, 1, 1, 0, 0]
    assert band_of(np.zeros(4)).tolist() == [0, 0, 0, 0]
    assert band_of(np.zeros(0)).tolist() == []


def test_concentration_runs_from_the_least_popular_to_all():
    """A curve from nothing to everything; the popular half of two items gets three quarters here."""
    curve = concentration(np.array([3, 1]), np.array([9.0, 2.0]), points=2)
    assert curve == [(0.0, 0.0), (0.5, 0.25), (1.0, 1.0)]


def test_answers_are_measured_in_the_order_of_the_questions(facts: ItemPopularity):
    """Novelty is in bits of the items' share of purchases with one more each, tail share is of those shown."""
    first, second = facts.catalogue.item_ids[:2]
    questions = [Question("b", "b", (), "", {first: 1.0}), Question("a", "a", (), "", {"elsewhere": 1.0})]
    found = measure_answers(questions, {"a": answer(second), "b": answer(second, first)}, facts)
    assert found["mrr@10"].tolist() == [0.5, 0.0]
    assert found["precision@10"].tolist() == [0.1, 0.0]
    assert found["auc"].tolist() == pytest.approx([1 - 1 / (len(facts) - 1), (len(facts) - 2) / 2 / (len(facts) - 1)])
    share = (facts.popularity[1] + 1) / (facts.popularity + 1).sum()
    assert found["novelty@10"][1] == pytest.approx(-log2(share))
    assert found["tail share@10"][1] == float(facts.band[1] == 2)


def test_judged_measures_leave_out_what_nobody_judged(facts: ItemPopularity):
    """An item without a judgement pushes nothing down in the condensed list, and does in the whole one."""
    a, b, c = facts.catalogue.item_ids[:3]
    questions = [Question("q", "q", (), "pen", {a: 2.0, b: 0.0})]
    found = measure_answers(questions, {"q": answer(c, a, b)}, facts, judged=True)
    assert found["ndcg@10 judged"].tolist() == [1.0]
    assert found["ndcg@10"].tolist() == pytest.approx([1 / log2(3)])


def test_exposure_counts_each_first_ten(facts: ItemPopularity):
    """Only the first k count, and items unknown to the catalogue count nowhere."""
    a, b, c = facts.catalogue.item_ids[:3]
    counts = exposure({"x": answer(a, b, c), "y": answer(a, "elsewhere")}, facts, k=2)
    assert counts[:3].tolist() == [2, 1, 0]
    assert counts.sum() == 3
