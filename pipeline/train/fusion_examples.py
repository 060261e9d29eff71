"""Labelled candidates as the fusion reads them: the second stage's own features, with and without logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from common.catalogue import Catalogue
from common.onnx_session import SessionOptions
from common.release import Release
from pipeline.metrics import evaluate
from pipeline.progress import Step
from pipeline.requests import ShopRequest
from pipeline.train.candidates import Labelled
from pipeline.train.fusion import Examples, Fusion
from pipeline.train.pair_examples import pairs_of, score_pairs
from services.ranking.cross_encoder import CrossEncoder
from services.ranking.features import Features
from services.ranking.item_facts import ItemFacts
from services.ranking.pair_texts import PairTexts

Floats = npt.NDArray[np.float32]

_BINS: Final = 15


class FusionExamples:
    """Computes features and logits through the serving engines.

    Args:
        release: The release so far: everything but the fusion.
        catalogue: Its items.
        names: The features.
        depth: How many candidates of a request the cross-encoder reads.
    """

    def __init__(self, release: Release, catalogue: Catalogue, names: Sequence[str], depth: int) -> None:
        self._features = Features(names, ItemFacts(release, catalogue))
        self._texts = PairTexts.load(release, catalogue)
        self._cross_encoder = CrossEncoder.load(release, SessionOptions())
        self._depth = depth

    def without_logits(self, drawn: Sequence[Labelled]) -> Examples:
        """Return every candidate, as if none was read."""
        matrices = [self._matrix(example) for example in drawn]
        return Examples(np.concatenate(matrices), np.concatenate([example.labels for example in drawn]))

    def read(self, drawn: Sequence[Labelled], first: lgb.Booster, step: Step) -> Examples:
        """Return the candidates that would be read, each with its logit and once more without."""
        matrices = [self._matrix(example) for example in drawn]
        chosen = [self._chosen(matrix, first) for matrix in matrices]
        logits = self._logits(drawn, chosen, step)
        plain = [matrix[places] for matrix, places in zip(matrices, chosen, strict=True)]
        filled = [self._features.with_logits(part, read) for part, read in zip(plain, logits, strict=True)]
        labels = [example.labels[places] for example, places in zip(drawn, chosen, strict=True)]
        return Examples(np.concatenate([*filled, *plain]), np.concatenate([*labels, *labels]))

    def served(self, drawn: Sequence[Labelled], first: lgb.Booster, step: Step) -> Examples:
        """Return every candidate as it is served: the most promising with logits, the others without."""
        matrices = [self._matrix(example) for example in drawn]
        chosen = [self._chosen(matrix, first) for matrix in matrices]
        for matrix, places, logits in zip(matrices, chosen, self._logits(drawn, chosen, step), strict=True):
            matrix[places] = self._features.with_logits(matrix[places], logits)
        return Examples(np.concatenate(matrices), np.concatenate([example.labels for example in drawn]))

    def _matrix(self, example: Labelled) -> Floats:
        return self._features.matrix(example.person, example.candidates)

    def _chosen(self, matrix: Floats, first: lgb.Booster) -> npt.NDArray[np.int64]:
        promise = np.asarray(first.predict(matrix, raw_score=True))
        return np.argsort(-promise, kind="stable")[: self._depth]

    def _logits(self, drawn: Sequence[Labelled], chosen: Sequence[npt.NDArray[np.int64]], step: Step) -> list[Floats]:
        pairs = [pairs_of(example, places, self._texts) for example, places in zip(drawn, chosen, strict=True)]
        step.at(0, sum(map(len, pairs)))
        return score_pairs(self._cross_encoder, pairs, step)


def quality(
    drawn: Sequence[Labelled], served: Examples, fusion: Fusion, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Measure the validation people: what the first stage, behaviour alone, the logit alone and all of it reach.

    NDCG@10 counts what the first stage did not find as missed, apart for histories, searches and newcomers; the
    cross-encoder's order is that of the candidates it read, which behaviour chose. The
    expected calibration error is over 15 bins of equal numbers; these people also calibrated the fusion.
    """
    starts = np.cumsum([len(example.labels) for example in drawn])[:-1]
    of_logits = [place for place, name in enumerate(names) if name.startswith("logit")]
    without = served.features.copy()
    without[:, of_logits] = np.nan
    probability = fusion.probability(served.features)
    orders: dict[str, list[npt.NDArray[np.floating[Any]]]] = {
        "first stage": [-np.arange(len(example.labels), dtype=np.float64) for example in drawn],
        "cross-encoder's order": np.split(np.nan_to_num(served.features[:, of_logits[0]], nan=-np.inf), starts),
        "fusion without the logit": np.split(fusion.probability(without), starts),
        "fusion": np.split(probability, starts),
    }
    measured = {name: ndcg_by_kind(drawn, scores) for name, scores in orders.items()}
    measured["calibration"] = {"expected calibration error": calibration_error(probability, served.labels)}
    return measured


def calibration_error(probability: npt.NDArray[np.float64], labels: Floats) -> float:
    """Return the mean distance of promised and kept probability over 15 bins of equal numbers."""
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, _BINS)
    gaps = [abs(probability[rows].mean() - labels[rows].mean()) * len(rows) for rows in bins if len(rows)]
    return float(sum(gaps) / max(len(order), 1))


def _kind(request: ShopRequest) -> str:
    if request.query:
        return "searches"
    return "histories" if request.history else "newcomers"


def ndcg_by_kind(drawn: Sequence[Labelled], scores: Sequence[npt.NDArray[np.floating[Any]]]) -> dict[str, float]:
    """Return NDCG@10 of requests by what is known of a person, what was not found missed.

    Args:
        drawn: The requests with their candidates.
        scores: A score for each candidate of each.
    """
    rankings, relevance = {}, {}
    for number, (example, values) in enumerate(zip(drawn, scores, strict=True)):
        name = f"{_kind(example.request)}-{number}"
        order = np.argsort(-values, kind="stable")
        rankings[name] = [str(row) for row in example.candidates.rows[order]]
        bought = {str(row) for row in example.candidates.rows[example.labels > 0]}
        missed = {f"missed {place}" for place in range(len(example.request.bought) - len(bought))}
        relevance[name] = bought | missed
    relevance = {name: items for name, items in relevance.items() if items}
    values = evaluate(rankings, relevance, ["ndcg@10"])["ndcg@10"]
    kind = np.array([name.partition("-")[0] for name in relevance])
    return {f"ndcg@10 {part}": float(values[kind == part].mean()) for part in np.unique(kind)}
