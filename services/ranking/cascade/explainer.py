"""Explains why a candidate has its probability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from common.arrays import FloatArray
from services.ranking.batching.batcher import Batcher
from services.ranking.cascade.compute_pool import ComputePool
from services.ranking.cascade.models import RankingModels
from services.ranking.cascade.results import ExplainedProbability
from services.ranking.cross_encoder.explanation import explain_logit
from services.ranking.request import CallContext, CandidateRows, UserRows


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
        self, user: UserRows, candidate: CandidateRows, text: str, call: CallContext
    ) -> ExplainedProbability:
        """Explain one candidate; see `SecondStage.explain`."""
        models = self.models
        explanation, logit = None, math.nan
        if self.batcher is not None:
            item_text = text or models.catalogue.text(int(candidate.rows[0]))
            explanation = await explain_logit(user, item_text, models.tokenizer, self.batcher, call)
            logit = explanation.logit
        matrix = await self.pool.run(lambda: self._features(user, candidate, text, logit))
        features = dict(sorted(zip(models.features.names, matrix[0].tolist(), strict=True)))
        present = {name: value for name, value in features.items() if not np.isnan(value)}
        return ExplainedProbability(float(models.fusion.probability(matrix)[0]), explanation, present)

    def _features(self, user: UserRows, candidate: CandidateRows, text: str, logit: float) -> FloatArray:
        models = self.models
        matrix = models.features.matrix(user, candidate, np.array([logit], dtype=np.float32))
        if models.late is None:
            return matrix
        context = models.tokenizer.context(user.query, models.tokenizer.context_items(user.history))
        score = models.late.score_item(context, int(candidate.rows[0]), text)
        return models.features.with_late(matrix, np.array([score], dtype=np.float32))
