"""Quality of the fusion on labelled candidates, as each tier would leave them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.fusion.trees import FusionTrees, LabelledFeatures
from pipeline.measurement.metrics.ranking_metrics import evaluate

_BINS: Final = 15
_ALL_CANDIDATES: Final = 2_000  # more candidates than any request has


def every_tier(served: LabelledFeatures, names: Sequence[str]) -> LabelledFeatures:
    """Return candidates as served, and as each cheaper tier would score them.

    Calibration on all of them makes probabilities of all tiers comparable. Without late interaction, served candidates
    are of both kinds already.
    """
    late, logits = ([place for place, name in enumerate(names) if name.startswith(kind)] for kind in ("late", "logit"))
    if not late:
        return served
    without_logits = served.features.copy()
    without_logits[:, logits] = np.nan
    plain = without_logits.copy()
    plain[:, late] = np.nan
    return LabelledFeatures(np.concatenate([served.features, without_logits, plain]), np.tile(served.labels, 3))


def quality(
    labelled: Sequence[LabelledCandidates], served: LabelledFeatures, fusion: FusionTrees, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Measure first stage and the whole fusion on validation users; with logits, also logit and behaviour alone.

    NDCG@10 is measured separately for histories, searches and new users; items that the first stage did not find count
    as missed. The cross-encoder orders the candidates that behaviour selected. The expected calibration error is over
    15 bins of equal size; the fusion is calibrated on the same users.
    """
    starts = np.cumsum([len(example.labels) for example in labelled])[:-1]
    of_logits = [place for place, name in enumerate(names) if name.startswith("logit")]
    probability = fusion.probability(served.features)
    orders: dict[str, list[npt.NDArray[np.floating[Any]]]] = {
        "first stage": [-np.arange(len(example.labels), dtype=np.float64) for example in labelled],
    }
    if of_logits:
        without = served.features.copy()
        without[:, of_logits] = np.nan
        logits = np.nan_to_num(served.features[:, of_logits[0]], nan=-np.inf)
        orders["cross-encoder's order"] = np.split(logits, starts)
        orders["fusion without the logit"] = np.split(fusion.probability(without), starts)
    orders["fusion"] = np.split(probability, starts)
    measured = {name: ndcg_by_kind(labelled, scores) for name, scores in orders.items()}
    measured["calibration"] = {"expected calibration error": calibration_error(probability, served.labels)}
    return measured


def calibration_error(probability: npt.NDArray[np.float64], labels: Float32Array) -> float:
    """Return the mean distance between predicted and observed shares over 15 bins of equal size."""
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, _BINS)
    gaps = [abs(probability[rows].mean() - labels[rows].mean()) * len(rows) for rows in bins if len(rows)]
    return float(sum(gaps) / max(len(order), 1))


def _kind(request: ShopRequest) -> str:
    if request.query:
        return "searches"
    return "histories" if request.history else "newcomers"


def ndcg_by_kind(
    labelled: Sequence[LabelledCandidates], scores: Sequence[npt.NDArray[np.floating[Any]]]
) -> dict[str, float]:
    """Return NDCG@10 by kind of request; relevant items that were not found count as missed.

    Args:
        labelled: The requests with their candidates.
        scores: Scores of each request's candidates.
    """
    values = ndcg_by_request(labelled, scores)
    kind = np.array([_kind(example.request) for example in labelled])
    known = np.isfinite(values)
    return {f"ndcg@10 {part}": float(values[known & (kind == part)].mean()) for part in np.unique(kind[known])}


def ndcg_by_request(
    labelled: Sequence[LabelledCandidates], scores: Sequence[npt.NDArray[np.floating[Any]]]
) -> npt.NDArray[np.float64]:
    """Return NDCG@10 of each request, counting items that were not found as missed; NaN if nothing was bought."""
    rankings, relevance = {}, {}
    for number, (example, values) in enumerate(zip(labelled, scores, strict=True)):
        name = str(number)
        order = np.argsort(-values, kind="stable")
        rankings[name] = [str(row) for row in example.candidates.rows[order]]
        bought = {str(row) for row in example.candidates.rows[example.labels > 0]}
        missed = {f"missed {place}" for place in range(len(example.request.bought) - len(bought))}
        relevance[name] = bought | missed
    relevance = {name: items for name, items in relevance.items() if items}
    values = np.full(len(labelled), np.nan)
    values[[int(name) for name in relevance]] = evaluate(rankings, relevance, ["ndcg@10"])["ndcg@10"]
    return np.asarray(values, np.float64)
