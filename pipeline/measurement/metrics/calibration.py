"""How far probabilities can be trusted: calibration, and what a threshold on them decides."""

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


class Bin(BaseModel):
    """Candidates of like probability: what was promised, what was kept, with its 95 % Wilson interval."""

    model_config = ConfigDict(frozen=True)

    promised: float
    kept: float
    low: float
    high: float
    candidates: int


class Probabilities(BaseModel):
    """Probabilities of candidates whose outcome is known.

    Attributes:
        candidates: How many.
        base_rate: Share of them that were wanted; always saying no is right for all others.
        expected_calibration_error: Mean distance of promised and kept over 15 bins of equal numbers.
        brier: Mean squared distance of probability and outcome.
        auc: Share of pairs (wanted, unwanted) that the probability puts in the right order, over all users.
        threshold: From which probability on a candidate is said to be wanted.
        accuracy: Share of candidates that the threshold decides rightly.
        precision: Share wanted among those above the threshold; 0 where there are none.
        recall: Share above the threshold among those wanted.
        f1: The harmonic mean of both.
        bins: The calibration, from the lowest probability up.
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
    bins: list[Bin]


def outcomes(
    questions: Sequence[Question], answers: Mapping[str, Answer], *, judged: bool
) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
    """Return the probabilities of all answered candidates and whether each was wanted; both [candidates].

    Args:
        questions: The questions.
        answers: The answers.
        judged: Whether to leave out items without a judgement, of which nothing is known.
    """
    probability: list[float] = []
    wanted: list[bool] = []
    for question in questions:
        answer = answers[question.key]
        for item, value in zip(answer.item_ids, answer.probability.tolist(), strict=True):
            if np.isnan(value) or (judged and item not in question.relevant):
                continue
            probability.append(value)
            wanted.append(question.relevant.get(item, 0.0) > 0)
    return np.array(probability, np.float64), np.array(wanted, np.bool_)


def assess(probability: Float64Array, wanted: npt.NDArray[np.bool_], threshold: float) -> Probabilities | None:
    """Assess probabilities by outcomes; None where there are none. Shapes [candidates]."""
    if not len(probability):
        return None
    bins = reliability(probability, wanted)
    said = probability >= threshold
    right = int((said & wanted).sum())
    precision = right / said.sum() if said.any() else 0.0
    recall = right / wanted.sum() if wanted.any() else 0.0
    return Probabilities(
        candidates=len(probability),
        base_rate=float(wanted.mean()),
        expected_calibration_error=sum(abs(part.promised - part.kept) * part.candidates for part in bins)
        / len(probability),
        brier=float(((probability - wanted) ** 2).mean()),
        auc=auc(probability, wanted),
        threshold=threshold,
        accuracy=float((said == wanted).mean()),
        precision=float(precision),
        recall=float(recall),
        f1=float(2 * precision * recall / (precision + recall)) if right else 0.0,
        bins=bins,
    )


def reliability(probability: Float64Array, wanted: npt.NDArray[np.bool_]) -> list[Bin]:
    """Part candidates into bins of equal numbers by probability."""
    order = np.argsort(probability, kind="stable")
    return [_bin(probability[rows], wanted[rows]) for rows in np.array_split(order, _BINS) if len(rows)]


def auc(probability: Float64Array, wanted: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve by ranks, ties half; 0.5 where all outcomes are the same."""
    positive = int(wanted.sum())
    negative = len(wanted) - positive
    if not positive or not negative:
        return 0.5
    ranks = rankdata(probability)[wanted].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def _bin(probability: Float64Array, wanted: npt.NDArray[np.bool_]) -> Bin:
    kept, count = float(wanted.mean()), len(wanted)
    middle = (kept + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z * np.sqrt(kept * (1 - kept) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
    return Bin(
        promised=float(probability.mean()),
        kept=kept,
        low=float(max(middle - half, 0.0)),
        high=float(min(middle + half, 1.0)),
        candidates=count,
    )
