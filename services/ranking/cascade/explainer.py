"""Explains what decided a candidate's probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array, Float64Array, FloatArray
from services.ranking.batching.batcher import Batcher
from services.ranking.cascade.attribution import attribute
from services.ranking.cascade.compute_pool import ComputePool
from services.ranking.cascade.models import RankingModels
from services.ranking.cascade.results import ExplainedFeature, ExplainedProbability, Tier
from services.ranking.cross_encoder.explanation import OccludedPairs
from services.ranking.features.feature_set import FeatureSet
from services.ranking.request import CallContext, UserRows

_MIN_PROBABILITY = 1e-7  # in float32, 1 - p is exact to about this


@dataclass(frozen=True)
class RankedCandidates:
    """The candidates of one request, ranked.

    Attributes:
        matrix: The features without logits; float32[candidates, features].
        late_scores: Late interaction's scores, NaN if it did not score a candidate; float32[candidates].
        logits: The cross-encoder's logits, NaN if it did not read a candidate; float32[candidates].
        probability: float32[candidates].
        tiers: The `Tier` that ranked each candidate; int64[candidates].
    """

    matrix: FloatArray
    late_scores: Float32Array
    logits: Float32Array
    probability: Float32Array
    tiers: npt.NDArray[np.int64]

    def features(self, features: FeatureSet) -> FloatArray:
        """Return the features that the fusion read; float32[candidates, features]."""
        matrix, read = self.matrix.copy(), np.flatnonzero(~np.isnan(self.logits))
        if len(read):
            matrix[read] = features.with_logits(matrix[read], self.logits[read])
        return matrix

    def rank(self, index: int) -> int:
        """Return a candidate's position by probability, from 1; equal ones in the order of the request."""
        return int(np.flatnonzero(np.argsort(-self.probability, kind="stable") == index)[0]) + 1


@dataclass(frozen=True)
class Explainer:
    """Explains candidates one at a time.

    Attributes:
        models: The release's models.
        batcher: Reads pairs; None if the release has no cross-encoder.
        pool: Computes features.
    """

    models: RankingModels
    batcher: Batcher | None
    pool: ComputePool

    async def explain(
        self, user: UserRows, ranked: RankedCandidates, index: int, row: int, text: str, call: CallContext
    ) -> ExplainedProbability:
        """Explain the candidate at ``index``, of a catalogue row or a text; see `SecondStage.explain`."""
        tokenizer = self.models.tokenizer
        whole = text or self.models.catalogue.text(row)
        pairs = await self.pool.run(lambda: OccludedPairs.of(user, whole, tokenizer))
        logits = np.full(len(pairs.text_of), np.nan, dtype=np.float32)
        if self.batcher is not None:
            tokens = await self.pool.run(lambda: pairs.tokens(tokenizer))
            logits = (await self.batcher.score(tokens, call)).logits
        return await self.pool.run(lambda: self._explain(ranked, index, pairs, logits, row, text))

    def _explain(
        self, ranked: RankedCandidates, index: int, pairs: OccludedPairs, logits: Float32Array, row: int, text: str
    ) -> ExplainedProbability:
        features = self.models.features
        matrix = ranked.features(features)
        others = np.delete(matrix, index, axis=0)
        background = others if len(others) else np.full((1, matrix.shape[1]), np.nan, dtype=np.float32)
        attribution = attribute(self._log_odds, matrix[index], background)
        rows = self._occluded_features(ranked, index, logits, self._late_scores(ranked, index, pairs, row, text))
        log_odds = self._log_odds(rows)
        # Where the first stage's order is kept, neighbours in the wrong order share their mean probability.
        shift = float(_log_odds(ranked.probability[[index]].astype(np.float64))[0] - log_odds[0])
        named = sorted(zip(features.names, matrix[index].tolist(), attribution.values.tolist(), strict=True))
        late_score = float(ranked.late_scores[index])
        return ExplainedProbability(
            probability=float(ranked.probability[index]),
            tier=Tier(ranked.tiers[index]),
            rank=ranked.rank(index),
            late_score=None if np.isnan(late_score) else late_score,
            log_odds=float(log_odds[0]) + shift,
            base_log_odds=attribution.base + shift,
            explanation=pairs.explanation(np.nan_to_num(logits).tolist(), log_odds.tolist()),
            features=[ExplainedFeature(*feature) for feature in named if not np.isnan(feature[1])],
            missing_contribution=sum(feature[2] for feature in named if np.isnan(feature[1])),
        )

    def _late_scores(
        self, ranked: RankedCandidates, index: int, pairs: OccludedPairs, row: int, text: str
    ) -> Float32Array:
        """Return late interaction's score of each pair; all NaN if it did not score the candidate."""
        whole, late = ranked.late_scores[index], self.models.late
        if np.isnan(whole) or late is None:
            return np.full(len(pairs.text_of), np.nan, dtype=np.float32)
        without_words = [late.score_item(pairs.contexts[0], row, shorter) for shorter in pairs.texts[1:]]
        without_context = [late.score_item(context, row, text) for context in pairs.contexts[1:]]
        return np.array([whole, *without_words, *without_context], dtype=np.float32)

    def _occluded_features(
        self, ranked: RankedCandidates, index: int, logits: Float32Array, late_scores: Float32Array
    ) -> FloatArray:
        """Return the candidate's features with the scores of each pair; float32[pairs, features].

        The first pair is the whole one: it keeps the scores that ranked the candidate.
        """
        features, rows = self.models.features, []
        read = np.flatnonzero(~np.isnan(ranked.logits))
        for pair, (logit, late_score) in enumerate(zip(logits.tolist(), late_scores.tolist(), strict=True)):
            matrix = ranked.matrix
            if pair and not np.isnan(late_score):
                matrix = features.with_late(matrix, _replaced(ranked.late_scores, index, late_score))
            row = matrix[index]
            if index in read:
                all_logits = _replaced(ranked.logits, index, logit) if pair else ranked.logits
                row = features.with_logits(matrix[read], all_logits[read])[np.searchsorted(read, index)]
            rows.append(row)
        return np.stack(rows)

    def _log_odds(self, matrix: FloatArray) -> Float64Array:
        """Return the log-odds of each row's probability; float64[rows]."""
        return _log_odds(self.models.fusion.probability(matrix).astype(np.float64))


def _log_odds(probability: Float64Array) -> Float64Array:
    probability = np.clip(probability, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return np.log(probability) - np.log1p(-probability)


def _replaced(values: Float32Array, index: int, value: float) -> Float32Array:
    copy = values.copy()
    copy[index] = value
    return copy
