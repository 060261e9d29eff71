"""Estimators of the reward that a target policy would get, from answers of a logging policy with known propensities.

They are of single positions: the reward of an item depends on the user, the item and its position, not on the other
items of the answer (Li et al., "Offline evaluation of ranking policies with click models", KDD 2018). Then the value of
an answer is the sum over its positions, and each position is weighed by whether the logged item is the target's there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_Z: Final = 1.959963984540054  # of a 95 % interval


@dataclass(frozen=True, eq=False)
class LoggedSlots:
    """Positions of logged answers, compared with what the target would show there.

    Attributes:
        answer: The answer of each slot, from 0; int64 [slots].
        position: Its position, from 0; int64 [slots].
        propensity: The probability that the logged item was put there; float64 [slots], above 0.
        reward: The reward; float64 [slots].
        matches: Whether the target would show the same item there; bool [slots].
        predicted_shown: What a model expects of the logged item there; float64 [slots].
        predicted_target: What it expects of the target's whole answer; float64 [answers].
        user: The user of each answer, from 0; int64 [answers]. Users are independent, answers of one user are not.
    """

    answer: Indices
    position: Indices
    propensity: Floats
    reward: Floats
    matches: npt.NDArray[np.bool_]
    predicted_shown: Floats
    predicted_target: Floats
    user: Indices

    @property
    def answers(self) -> int:
        """Number of answers."""
        return len(self.user)

    @property
    def weights(self) -> Floats:
        """The importance weight of each slot: the target's probability over the logging policy's; [slots]."""
        return np.where(self.matches, 1.0 / self.propensity, 0.0)

    def sum_by_answer(self, values: Floats) -> Floats:
        """Return the sum of values of slots for each answer."""
        return np.asarray(np.bincount(self.answer, values, self.answers), np.float64)


@dataclass(frozen=True)
class ValueEstimate:
    """A reward per answer with its 95 % interval over users, normal approximation."""

    value: float
    low: float
    high: float


def logged_value(slots: LoggedSlots) -> ValueEstimate:
    """Return the reward per answer that the logging policy got."""
    return _mean(slots, slots.sum_by_answer(slots.reward))


def inverse_propensity(slots: LoggedSlots) -> ValueEstimate:
    """Return the estimate by inverse propensity scores (IPS; Horvitz and Thompson, 1952): unbiased, but it varies."""
    return _mean(slots, slots.sum_by_answer(slots.weights * slots.reward))


def self_normalised(slots: LoggedSlots) -> ValueEstimate:
    """Return the self-normalised estimate (SNIPS; Swaminathan and Joachims, NeurIPS 2015), normalised by position.

    Biased by less than its interval; of lower variance, and unmoved by adding a constant to the rewards.
    """
    weights, count = slots.weights, int(slots.position.max()) + 1
    totals = np.bincount(slots.position, weights, count)
    gained = np.bincount(slots.position, weights * slots.reward, count)
    answers = np.bincount(slots.position, minlength=count)  # short answers do not have all positions
    rates = np.divide(gained, totals, out=np.zeros(count), where=totals > 0)
    scale = np.divide(answers, totals, out=np.zeros(count), where=totals > 0)
    # The influence of each slot on the sum of ratios, by the delta method.
    influence = scale[slots.position] * weights * (slots.reward - rates[slots.position])
    return _mean(slots, slots.sum_by_answer(influence + rates[slots.position]))


def doubly_robust(slots: LoggedSlots) -> ValueEstimate:
    """Return the doubly robust estimate (DR; Dudík, Langford and Li, ICML 2011).

    Unbiased if the propensities are right, whatever the model predicts; of low variance if the model is good.
    """
    corrections = slots.weights * (slots.reward - slots.predicted_shown)
    return _mean(slots, slots.predicted_target + slots.sum_by_answer(corrections))


def effective_sample_size(slots: LoggedSlots) -> float:
    """Return how many answers of the target itself would say as much: the least over positions (Kish, 1965)."""
    count = int(slots.position.max()) + 1
    weights = slots.weights
    totals, squares = (np.bincount(slots.position, values, count) for values in (weights, weights**2))
    return float(np.divide(totals**2, squares, out=np.zeros(count), where=squares > 0).min())


def mean_weight(slots: LoggedSlots, expected: Floats) -> ValueEstimate:
    """Return the mean of what weights are above their expectation; its interval has 0 if the propensities are right.

    Args:
        slots: The slots.
        expected: How many of each answer's positions the logging policy could fill as the target would; [answers].
    """
    return _mean(slots, slots.sum_by_answer(slots.weights) - expected)


def _mean(slots: LoggedSlots, by_answer: npt.NDArray[np.floating[Any]]) -> ValueEstimate:
    """Return the mean over answers, with an interval that keeps each user's answers together."""
    mean = float(by_answer.mean())
    by_user = np.bincount(slots.user, by_answer - mean)
    users = len(by_user)
    spread = float(np.sqrt((by_user**2).sum() * users / max(1, users - 1))) / len(by_answer)
    return ValueEstimate(mean, mean - _Z * spread, mean + _Z * spread)
