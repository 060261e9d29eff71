"""What is said of the long tail."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.analyses.long_tail import apply_long_tail_share, expected_demand, long_tail_cost, tail_recall
from pipeline.measurement.metrics.item_popularity import ItemPopularity
from pipeline.measurement.questions.answers import Answer
from pipeline.measurement.questions.protocols import Question


@pytest.fixture
def banded(facts: ItemPopularity) -> ItemPopularity:
    """Return the tiny shop's facts, its first ten items the head and the others the tail."""
    return dataclasses.replace(facts, band=np.where(np.arange(len(facts)) < 10, 0, 2))


def _ids(facts: ItemPopularity, *rows: int) -> list[str]:
    return [facts.catalogue.item_ids[row] for row in rows]


def _answer(facts: ItemPopularity, rows: list[int], probability: list[float]) -> Answer:
    return Answer(_ids(facts, *rows), np.array(probability), {"total": 1.0})


@pytest.fixture
def asked(banded: ItemPopularity) -> tuple[list[Question], dict[str, Answer]]:
    """Two users: one takes an item of each band, of which the head's is listed; the other one of the tail, listed."""
    wanted = {"a": _ids(banded, 0, 20), "b": _ids(banded, 30)}
    questions = [Question(key, key, (), "", dict.fromkeys(items, 1.0)) for key, items in wanted.items()]
    answers = {"a": _answer(banded, [0, 1, 30], [0.5, 0.25, 0.125]), "b": _answer(banded, [1, 30], [0.5, 0.25])}
    return questions, answers


def test_tail_recall_counts_the_tail_alone(banded: ItemPopularity, asked: tuple[list[Question], dict[str, Answer]]):
    """Of each who wanted something of the tail, the share that was listed."""
    assert tail_recall(*asked, banded).tolist() == [0.0, 1.0]


def test_expected_demand_is_probability_summed_over_users(
    banded: ItemPopularity, asked: tuple[list[Question], dict[str, Answer]]
):
    """By band: what was promised, and how many took it; what nobody listed is expected from nobody."""
    found = expected_demand(*asked, banded)
    assert found is not None
    assert found.users == 2
    assert found.bands == {"head": (1.25, 1.0), "middle": (0.0, 0.0), "tail": (0.375, 2.0)}
    assert sum(part.items for part in found.bins) == 3
    assert sum(part.items * part.expected for part in found.bins) == pytest.approx(1.625)
    assert -1 <= found.correlation <= 1


def test_without_probabilities_nothing_is_expected(
    banded: ItemPopularity, asked: tuple[list[Question], dict[str, Answer]]
):
    """A first stage alone promises nothing."""
    questions, answers = asked
    silent = {
        key: dataclasses.replace(answer, probability=answer.probability * np.nan) for key, answer in answers.items()
    }
    assert expected_demand(questions, silent, banded) is None


@given(st.lists(st.booleans(), max_size=25), st.integers(0, 10))
def test_a_long_tail_share_keeps_the_order(tail: list[bool], places: int):
    """The first ten have the places kept, or all of the tail there is, and stand in their order."""
    items = [str(number) for number in range(len(tail))]
    answer = Answer(items, np.linspace(0.9, 0.1, len(items)), {})
    first = [int(item) for item in apply_long_tail_share(answer, np.array(tail, bool), places / 10)]
    assert first == sorted(first)
    assert len(first) == min(10, len(items))
    kept = min(-(-places * len(first) // 10), sum(tail))
    inside = sum(tail[:10])
    assert sum(tail[place] for place in first) == max(kept, inside)
    if inside >= kept:
        assert first == list(range(len(first)))


def test_the_cost_of_a_long_tail_share_is_measured(banded: ItemPopularity):
    """Moving up what was not wanted costs; keeping nothing costs nothing."""
    rows = [*range(10), *range(40, 60)]
    question = Question("a", "a", (), "", dict.fromkeys(_ids(banded, 9), 1.0))
    answer = _answer(banded, rows, np.linspace(0.9, 0.1, 30).tolist())
    points = long_tail_cost([question], {"a": answer}, banded, seed=1)
    assert [point.long_tail_share for point in points] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.5])
    assert points[0].cost.mean == 0
    assert points[1].cost.mean == pytest.approx(-points[0].quality.mean)
