"""Calibration of probabilities, and decisions by a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.stats import rankdata

from common.arrays import Float64Array
from pipeline.measurement.questions.answers import Answer
from pipeline.measurement.questions.protocols import Question

_BINS: Final = 15
_Z: Final = 1.959964  # of a 95 % interval


class CalibrationBin(BaseModel):
    """Candidates of similar probability: mean prediction, and observed share with its 95 % Wilson interval."""

    model_config = ConfigDict(frozen=True)

    predicted: float
    observed: float
    low: float
    high: float
    candidates: int


class ProbabilityMetrics(BaseModel):
    """Probabilities of candidates whose outcome is known.

    Attributes:
        candidates: Number of candidates.
        base_rate: Share of relevant candidates.
        expected_calibration_error: Mean distance between predicted and observed shares over 15 bins of equal numbers.
        brier: Mean squared difference between probability and outcome.
        auc: Share of pairs (relevant, irrelevant) that the probability puts in the right order, over all users.
        threshold: Lowest probability of a candidate that is predicted to be relevant.
        accuracy: Share of correct decisions.
        precision: Share of relevant candidates among those from the threshold up; 0 if there are none.
        recall: Share of relevant candidates that are from the threshold up.
        f1: Harmonic mean of precision and recall.
        bins: Calibration from the lowest probability up.
    """

    model_config = ConfigDict(frozen=True)

    candidates: int
    base_rate: float
    expected_calibration_error: float
    brier: float
    auc: float
    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    bins: list[CalibrationBin]


def outcomes(
    questions: Sequence[Question], answers: Mapping[str, Answer], *, judged: bool
) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
    """Return the probability of each answered candidate, and whether it is relevant; both [candidates].

    Args:
        questions: The questions.
        answers: The answers.
        judged: Whether to leave out items without a judgement, whose relevance is unknown.
    """
    probability: list[float] = []
    relevant: list[bool] = []
    for question in questions:
        answer = answers[question.key]
        for item, value in zip(answer.item_ids, answer.probability.tolist(), strict=True):
            if np.isnan(value) or (judged and item not in question.relevant):
                continue
            probability.append(value)
            relevant.append(question.relevant.get(item, 0.0) > 0)
    return np.array(probability, np.float64), np.array(relevant, np.bool_)


def probability_metrics(
    probability: Float64Array, relevant: npt.NDArray[np.bool_], threshold: float
) -> ProbabilityMetrics | None:
    """Measure probabilities by outcomes, both [candidates]; None if there are none."""
    if not len(probability):
        return None
    bins = calibration_bins(probability, relevant)
    positive = probability >= threshold
    true_positives = int((positive & relevant).sum())
    precision = true_positives / positive.sum() if positive.any() else 0.0
    recall = true_positives / relevant.sum() if relevant.any() else 0.0
    return ProbabilityMetrics(
        candidates=len(probability),
        base_rate=float(relevant.mean()),
        expected_calibration_error=sum(abs(one.predicted - one.observed) * one.candidates for one in bins)
        / len(probability),
        brier=float(((probability - relevant) ** 2).mean()),
        auc=roc_auc(probability, relevant),
        threshold=threshold,
        accuracy=float((positive == relevant).mean()),
        precision=float(precision),
        recall=float(recall),
        f1=float(2 * precision * recall / (precision + recall)) if true_positives else 0.0,
        bins=bins,
    )


def calibration_bins(probability: Float64Array, relevant: npt.NDArray[np.bool_]) -> list[CalibrationBin]:
    """Split candidates by probability into bins of equal size."""
    order = np.argsort(probability, kind="stable")
    return [_bin(probability[rows], relevant[rows]) for rows in np.array_split(order, _BINS) if len(rows)]


def roc_auc(probability: Float64Array, relevant: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve by ranks, ties half; 0.5 if all outcomes are equal."""
    positive = int(relevant.sum())
    negative = len(relevant) - positive
    if not positive or not negative:
        return 0.5
    ranks = rankdata(probability)[relevant].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def _bin(probability: Float64Array, relevant: npt.NDArray[np.bool_]) -> CalibrationBin:
    observed, count = float(relevant.mean()), len(relevant)
    middle = (observed + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z * np.sqrt(observed * (1 - observed) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
    return CalibrationBin(
        predicted=float(probability.mean()),
        observed=observed,
        low=float(max(middle - half, 0.0)),
        high=float(min(middle + half, 1.0)),
        candidates=count,
    )
