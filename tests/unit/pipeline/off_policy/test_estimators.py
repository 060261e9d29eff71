"""Estimators against exact oracles: the expectation over everything that a logging policy can show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import pytest

from pipeline.off_policy.estimators import (
    LoggedSlots,
    ValueEstimate,
    doubly_robust,
    effective_sample_size,
    inverse_propensity,
    logged_value,
    mean_weight,
    self_normalised,
)
from services.gateway.policy.exploration import PropensityTable

POOL, POSITIONS, SHARE = 4, 3, 0.4
TARGET = (2, 0, 1)
# What each item brings at each position; any numbers.
REWARDS = np.array([[0.9, 0.5, 0.2], [0.4, 0.3, 0.1], [0.8, 0.7, 0.6], [0.1, 0.9, 0.3]])
TRUTH = float(sum(REWARDS[item, position] for position, item in enumerate(TARGET)))


def _shown() -> Iterator[tuple[float, list[int]]]:
    """Yield everything that can be shown, with its probability."""
    for chances in product([True, False], repeat=POSITIONS):
        for drawn in product(*(range(position, POOL) for position in range(POSITIONS))):
            places, probability = list(range(POOL)), 1.0
            for position, (chance, place) in enumerate(zip(chances, drawn, strict=True)):
                probability *= (SHARE if chance else 1 - SHARE) / (POOL - position)
                if chance:
                    places[position], places[place] = places[place], places[position]
            yield probability, places[:POSITIONS]


def _slots(answers: Sequence[Sequence[int]], predicted: np.ndarray, users: Sequence[int] | None = None) -> LoggedSlots:
    table = PropensityTable(POOL, POSITIONS, SHARE)
    cells = [(at, position, item) for at, items in enumerate(answers) for position, item in enumerate(items)]
    answer, position, item = (np.array(column) for column in zip(*cells, strict=True))
    return LoggedSlots(
        answer=answer,
        position=position,
        propensity=np.array([table.propensity(place, at) for _, at, place in cells]),
        reward=REWARDS[item, position],
        matches=item == np.array(TARGET)[position],
        predicted_shown=predicted[item, position],
        predicted_target=np.full(len(answers), sum(predicted[item, at] for at, item in enumerate(TARGET))),
        user=np.array(range(len(answers)) if users is None else users),
    )


def _expectation(estimator: Callable[[LoggedSlots], ValueEstimate], predicted: np.ndarray) -> float:
    return sum(probability * estimator(_slots([shown], predicted)).value for probability, shown in _shown())


@pytest.mark.parametrize("predicted", [np.zeros((POOL, POSITIONS)), REWARDS, np.full((POOL, POSITIONS), -7.0)])
def test_ips_and_dr_are_unbiased(predicted: np.ndarray):
    """Over everything that can be shown, both are the truth, however wrong the model of DR is."""
    assert _expectation(inverse_propensity, predicted) == pytest.approx(TRUTH)
    assert _expectation(doubly_robust, predicted) == pytest.approx(TRUTH)


def test_weights_are_as_many_as_the_target_has_positions():
    """The mean of an answer's weights is the number of positions that the log can fill as the target does."""
    mean = sum(
        probability * mean_weight(_slots([shown], REWARDS), np.array([3.0])).value for probability, shown in _shown()
    )
    assert mean == pytest.approx(0.0, abs=1e-12)


def test_a_perfect_model_leaves_no_variance():
    """If the model predicts every reward, DR is the truth in each single answer."""
    for _, shown in _shown():
        assert doubly_robust(_slots([shown], REWARDS)).value == pytest.approx(TRUTH)


def test_snips_is_the_truth_of_what_it_has_seen():
    """It weighs by what matched: right however often that was, and 0 at a position where nothing matched."""
    often = _slots([[2, 0, 1]] * 3 + [[0, 1, 2]] * 5, REWARDS)
    assert self_normalised(often).value == pytest.approx(TRUTH)
    assert inverse_propensity(often).value > TRUTH
    never = _slots([[2, 1, 0], [0, 1, 3]], REWARDS)
    assert self_normalised(never).value == pytest.approx(REWARDS[2, 0])


def test_snips_counts_a_position_only_in_answers_that_have_it():
    """With the logged answers as the target, the estimate is what was got, also if answers differ in length."""
    slots = _slots([[2, 0, 1], [2], [2], [2, 0]], REWARDS)
    assert self_normalised(slots).value == pytest.approx(logged_value(slots).value)


def test_snips_does_not_move_with_a_constant():
    """Adding a constant to all rewards adds it once for each position, which IPS does not do in a single log."""
    slots = _slots([[2, 1, 0], [0, 0, 1], [1, 2, 3], [2, 3, 1]], REWARDS)
    moved = LoggedSlots(**{**vars(slots), "reward": slots.reward + 10})
    assert self_normalised(moved).value - self_normalised(slots).value == pytest.approx(30)
    assert inverse_propensity(moved).value - inverse_propensity(slots).value != pytest.approx(30, rel=0.05)


def test_the_effective_sample_size_is_that_of_the_rarest_position():
    """Equal weights count fully; the position with the fewest matches decides."""
    slots = _slots([[2, 0, 3]] * 6 + [[2, 3, 1]] * 2, REWARDS)
    assert effective_sample_size(slots) == pytest.approx(2.0)


def test_answers_of_one_user_are_not_independent():
    """Repeating each answer for the same user leaves the interval as wide; as answers of others it narrows."""
    once = [[2, 0, 1], [0, 1, 2], [1, 2, 3], [3, 0, 1]]
    twice = [each for each in once for _ in (0, 1)]
    alone = logged_value(_slots(once, REWARDS))
    same = logged_value(_slots(twice, REWARDS, users=[user for user in range(4) for _ in (0, 1)]))
    others = logged_value(_slots(twice, REWARDS))
    assert (same.low, same.high) == pytest.approx((alone.low, alone.high))
    assert others.high - others.low < 0.8 * (alone.high - alone.low)
