"""Features of labelled candidates for the fusion, computed by the serving engines, with and without logits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from common.onnx_session import SessionOptions
from common.release.catalogue import Catalogue
from common.release.store import Release
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.text_pairs import pairs_of, score_pairs
from pipeline.learning.fusion.tier_plan import TierOption
from pipeline.learning.fusion.trees import FusionTrees, LabelledFeatures
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.progress import ProgressStep
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.late_interaction.scorer import LateInteractionScorer, has_late_interaction
from services.ranking.pairs.pair_tokenizer import PairTokenizer

_BINS: Final = 15
_ALL_CANDIDATES: Final = 2_000  # more candidates than any request has


class FusionExamples:
    """Computes features, late scores and logits through the serving engines.

    Args:
        release: The release so far: everything but the fusion.
        catalogue: Its items.
        names: The features.
        depth: Number of candidates of a request that the cross-encoder scores.
    """

    def __init__(self, release: Release, catalogue: Catalogue, names: Sequence[str], depth: int) -> None:
        self._features = FeatureSet(names, ItemTables(release, catalogue))
        self._texts = PairTokenizer.load(release, catalogue)
        self._cross_encoder = CrossEncoder.load(release, SessionOptions())
        self._depth = depth
        self._late_s = self._pairs_s = 0.0
        self._scored = self._read_pairs = 0
        self._late = (
            LateInteractionScorer.load(release, len(catalogue), self._texts.template)
            if has_late_interaction(release)
            else None
        )

    def without_logits(self, labelled: Sequence[LabelledCandidates]) -> LabelledFeatures:
        """Return every candidate without logits."""
        matrices = [self._matrix(example) for example in labelled]
        return LabelledFeatures(np.concatenate(matrices), np.concatenate([example.labels for example in labelled]))

    def training_features(self, labelled: Sequence[LabelledCandidates]) -> LabelledFeatures:
        """Return every candidate with and without its late-interaction score, so that trees handle missing scores."""
        scored = self.without_logits(labelled)
        if self._late is None:
            return scored
        plain = np.concatenate([self._plain(example) for example in labelled])
        return LabelledFeatures(
            np.concatenate([scored.features, plain]), np.concatenate([scored.labels, scored.labels])
        )

    def read(self, labelled: Sequence[LabelledCandidates], first: lgb.Booster, step: ProgressStep) -> LabelledFeatures:
        """Return the candidates that the cross-encoder would score, each with and without its logit."""
        matrices = [self._matrix(example) for example in labelled]
        chosen = [self._chosen(matrix, first) for matrix in matrices]
        logits = self._logits(labelled, chosen, step)
        plain = [matrix[places] for matrix, places in zip(matrices, chosen, strict=True)]
        filled = [self._features.with_logits(part, read) for part, read in zip(plain, logits, strict=True)]
        labels = [example.labels[places] for example, places in zip(labelled, chosen, strict=True)]
        return LabelledFeatures(np.concatenate([*filled, *plain]), np.concatenate([*labels, *labels]))

    def served(
        self, labelled: Sequence[LabelledCandidates], first: lgb.Booster, step: ProgressStep
    ) -> LabelledFeatures:
        """Return every candidate as served: the best ones with logits, the others without."""
        matrices = [self._matrix(example) for example in labelled]
        chosen = [self._chosen(matrix, first) for matrix in matrices]
        for matrix, places, logits in zip(matrices, chosen, self._logits(labelled, chosen, step), strict=True):
            matrix[places] = self._features.with_logits(matrix[places], logits)
        return LabelledFeatures(np.concatenate(matrices), np.concatenate([example.labels for example in labelled]))

    def _matrix(self, example: LabelledCandidates) -> Float32Array:
        """Return the features of a request's candidates, with late-interaction scores if the release has them."""
        if self._late is None:
            return self._plain(example)
        began = time.perf_counter()
        context = self._texts.context(example.user.query, self._texts.context_items(example.user.history))
        scores = self._late.score_rows(self._late.context_vectors(context), example.candidates.rows)
        self._late_s, self._scored = self._late_s + time.perf_counter() - began, self._scored + 1
        return self._features.with_late(self._plain(example), scores)

    def _plain(self, example: LabelledCandidates) -> Float32Array:
        return self._features.matrix(example.user, example.candidates)

    def _chosen(self, matrix: Float32Array, first: lgb.Booster) -> npt.NDArray[np.int64]:
        preliminary_score = np.asarray(first.predict(matrix, raw_score=True))
        return np.argsort(-preliminary_score, kind="stable")[: self._depth]

    def _logits(
        self, labelled: Sequence[LabelledCandidates], chosen: Sequence[npt.NDArray[np.int64]], step: ProgressStep
    ) -> list[Float32Array]:
        pairs = [pairs_of(example, places, self._texts) for example, places in zip(labelled, chosen, strict=True)]
        step.at(0, sum(map(len, pairs)))
        began = time.perf_counter()
        logits = score_pairs(self._cross_encoder, pairs, step)
        self._pairs_s, self._read_pairs = self._pairs_s + time.perf_counter() - began, self._read_pairs + len(pairs)
        return logits

    def options(
        self, labelled: Sequence[LabelledCandidates], served: LabelledFeatures, fusion: FusionTrees
    ) -> list[TierOption]:
        """Measure time and quality of each choice of tiers, from candidates that all tiers have scored.

        At a smaller cross-encoder depth, only the best of the scored candidates keep their logits.
        """
        ends = np.cumsum([len(example.labels) for example in labelled])
        matrices = np.split(served.features, ends[:-1])
        late_ms = self._late_s / max(self._scored, 1) * 1e3
        pair_ms = self._pairs_s / max(self._read_pairs, 1) * 1e3

        def option(late: int, depth: int) -> TierOption:
            scores = [self._served_with(matrix, fusion, late=bool(late), depth=depth) for matrix in matrices]
            return TierOption(late, depth, bool(late) * late_ms + depth * pair_ms, ndcg_by_request(labelled, scores))

        depths = sorted({0, self._depth // 3, self._depth})
        return [option(late, depth) for late in (0, _ALL_CANDIDATES) for depth in depths]

    def _served_with(
        self, matrix: Float32Array, fusion: FusionTrees, *, late: bool, depth: int
    ) -> npt.NDArray[np.float64]:
        """Return the probabilities of a request's candidates with fewer tiers or pairs."""
        logits = matrix[:, self._features.names.index("logit")]
        none = np.full(len(matrix), np.nan, np.float32)
        blind = self._features.with_logits(matrix, none)
        blind = blind if late else self._features.with_late(blind, none)
        probability = fusion.probability(blind)
        preliminary_score = np.where(np.isnan(logits), -np.inf, probability)
        chosen = np.argsort(-preliminary_score, kind="stable")[: min(depth, int((~np.isnan(logits)).sum()))]
        if len(chosen):
            probability[chosen] = fusion.probability(self._features.with_logits(blind[chosen], logits[chosen]))
        return probability


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
    """Measure first stage, behaviour alone, logit alone and the whole fusion on validation users.

    NDCG@10 is measured separately for histories, searches and new users; items that the first stage did not find count
    as missed. The cross-encoder orders the candidates that behaviour selected. The expected calibration error is over
    15 bins of equal size; the fusion is calibrated on the same users.
    """
    starts = np.cumsum([len(example.labels) for example in labelled])[:-1]
    of_logits = [place for place, name in enumerate(names) if name.startswith("logit")]
    without = served.features.copy()
    without[:, of_logits] = np.nan
    probability = fusion.probability(served.features)
    orders: dict[str, list[npt.NDArray[np.floating[Any]]]] = {
        "first stage": [-np.arange(len(example.labels), dtype=np.float64) for example in labelled],
        "cross-encoder's order": np.split(np.nan_to_num(served.features[:, of_logits[0]], nan=-np.inf), starts),
        "fusion without the logit": np.split(fusion.probability(without), starts),
        "fusion": np.split(probability, starts),
    }
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
