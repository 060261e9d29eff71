"""The tiers before the cross-encoder, and the fusion of all scores.

Every candidate gets the features, which are the cheapest. Late interaction scores the most probable candidates by the
features, usually all. The cross-encoder reads the most probable by both.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Float32Array, FloatArray, RowIndices, TokenIds
from common.ragged import TokenRows
from services.ranking.admission.time_budget import StepTimes
from services.ranking.cascade.fusion_model import FusionModel
from services.ranking.cascade.kept_order import in_first_stage_order
from services.ranking.cascade.results import RequestedDepths
from services.ranking.features.feature_set import FeatureSet
from services.ranking.late_interaction.tier import LateInteractionTier, LateScores
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.pairs.score_cache import ItemKey
from services.ranking.release_settings import MAX_DEPTH, Occasion, TierDepths
from services.ranking.request import CandidateRows, UserRows

# A request is about new items if the release lacks at least this share of the candidates.
_NEW_ITEMS_SHARE: Final = 0.5
_NO_TOKENS: Final[TokenIds] = np.empty(0, np.int32)
_NO_ITEMS: Final = TokenRows.from_rows([])
_NO_ROWS: Final[RowIndices] = np.empty(0, np.int64)


@dataclass(frozen=True)
class PreparedRequest:
    """A request before the cross-encoder reads.

    Attributes:
        matrix: The features, including late interaction's; float32[candidates, features].
        probability: The probability by these features; float32[candidates].
        late: Late interaction's scores.
        chosen: The indices of the candidates that the cross-encoder is to read, the most probable first.
        context: The user context's tokens.
        items: The chosen candidates' tokens.
        keys: The keys of the chosen candidates' texts.
        fuse_ms: Time of features and fusion.
        tokenise_ms: Time of tokenising.
    """

    matrix: FloatArray
    probability: Float32Array
    late: LateScores
    chosen: RowIndices
    context: TokenIds
    items: TokenRows
    keys: list[ItemKey]
    fuse_ms: float
    tokenise_ms: float


class Cascade:
    """Ranks candidates without and with the cross-encoder's logits; safe to share between threads.

    Args:
        features: Computes the features.
        fusion: Features to probability.
        late: Late interaction; None if the release does not have it.
        tokenizer: Users and items to tokens.
        times: Is told how long features and fusion take.
    """

    def __init__(
        self,
        features: FeatureSet,
        fusion: FusionModel,
        late: LateInteractionTier | None,
        tokenizer: PairTokenizer,
        times: StepTimes,
    ) -> None:
        self._features = features
        self._fusion = fusion
        self._late = late
        self._tokenizer = tokenizer
        self._times = times

    def depths(
        self, user: UserRows, candidates: CandidateRows, requested: RequestedDepths, min_pairs: int = 0
    ) -> TierDepths:
        """Return how many candidates the tiers take: as requested, else as the release plans for the occasion.

        Args:
            user: Whom the candidates are for.
            candidates: The candidates.
            requested: The depths of request or server.
            min_pairs: How many candidates the caller needs read; raises a planned depth, not a requested one.
        """
        planned = self._tokenizer.settings.planned_depths(occasion(user, candidates))
        late, cross_encoder = requested.late_interaction, requested.cross_encoder
        # A request may ask for more than there can be.
        return TierDepths(
            late_interaction=planned.late_interaction if late is None else min(late, MAX_DEPTH),
            cross_encoder=max(planned.cross_encoder, min_pairs)
            if cross_encoder is None
            else min(cross_encoder, MAX_DEPTH),
        )

    def prepare(
        self,
        user: UserRows,
        candidates: CandidateRows,
        texts: Mapping[int, str],
        depths: TierDepths,
        end_at: float,
    ) -> PreparedRequest:
        """Rank without the cross-encoder, and choose the candidates that it is to read.

        Args:
            user: Whom the candidates are for.
            candidates: The candidates.
            texts: Texts of candidates without a catalogue row or with another text than the catalogue's, by index.
            depths: How many candidates the tiers take.
            end_at: When late interaction must be done, in seconds of the monotonic clock.
        """
        clock = _StepClock()
        matrix = self._features.matrix(user, candidates)
        clock.lap("fuse")
        scores_late = self._late is not None and depths.late_interaction > 0
        context = _NO_TOKENS
        if scores_late or depths.cross_encoder:  # features alone need no tokens
            context = self._tokenizer.context(user.query, self._tokenizer.context_items(user.history))
        clock.lap("tokenise")
        late = self._score_late(matrix, context, candidates, texts, depths.late_interaction, end_at)
        clock.lap("late")
        if not np.isnan(late.scores).all():
            matrix = self._features.with_late(matrix, late.scores)
        probability = self._fusion.probability(matrix)
        chosen = _most_probable(probability, depths.cross_encoder)
        clock.lap("fuse")
        items, keys = self._chosen_items(candidates, texts, chosen)
        clock.lap("tokenise")
        spent = clock.spent_ms
        fuse_ms = spent["fuse"] + spent["late"] - late.ms
        self._times.features.observe(len(candidates), (fuse_ms + spent["tokenise"]) / 1e3)
        return PreparedRequest(matrix, probability, late, chosen, context, items, keys, fuse_ms, spent["tokenise"])

    def _chosen_items(
        self, candidates: CandidateRows, texts: Mapping[int, str], chosen: RowIndices
    ) -> tuple[TokenRows, list[ItemKey]]:
        """Return the tokens of the candidates to read, and keys of their texts."""
        if not len(chosen):
            return _NO_ITEMS, []
        chosen_texts = {index: texts[row] for index, row in enumerate(chosen.tolist()) if row in texts}
        return self._tokenizer.items(candidates.rows[chosen], chosen_texts)

    def fuse(self, prepared: PreparedRequest, logits: Float32Array) -> tuple[Float32Array, Float32Array, float]:
        """Compute the probability of candidates with a logit again.

        Args:
            prepared: The request.
            logits: The chosen candidates' logits, NaN if there is none.

        Returns:
            Logits and probabilities of all candidates, and milliseconds.
        """
        began = time.perf_counter()
        logit = np.full(len(prepared.probability), np.nan, dtype=np.float32)
        logit[prepared.chosen] = logits
        read = np.flatnonzero(~np.isnan(logit))
        probability = prepared.probability.copy()
        probability[read] = self._fusion.probability(self._features.with_logits(prepared.matrix[read], logit[read]))
        took_s = time.perf_counter() - began
        self._times.fusion.observe(len(prepared.chosen), took_s)
        return logit, probability, took_s * 1e3

    def ordered(
        self, user: UserRows, candidates: CandidateRows, probability: Float32Array, *, by_features: bool
    ) -> Float32Array:
        """Return the probabilities, in the first stage's order where the release keeps it.

        Args:
            user: Whom the candidates are for.
            candidates: The candidates.
            probability: By the fusion; float32[candidates].
            by_features: Whether no text tier scored a candidate; if one did, its order counts.
        """
        kept = self._tokenizer.settings.first_stage_order
        if not by_features or not kept or occasion(user, candidates) not in kept:
            return probability
        return in_first_stage_order(probability, candidates.first_stage_score)

    def _score_late(
        self,
        matrix: FloatArray,
        context: TokenIds,
        candidates: CandidateRows,
        texts: Mapping[int, str],
        depth: int,
        end_at: float,
    ) -> LateScores:
        """Score the ``depth`` most probable candidates by the other features with late interaction."""
        if self._late is None or not depth:
            return LateScores.none(len(candidates))
        takes_all = depth >= len(candidates)
        chosen = np.arange(len(candidates)) if takes_all else _most_probable(self._fusion.probability(matrix), depth)
        return self._late.score_candidates(context, candidates, texts, chosen, end_at)


def occasion(user: UserRows, candidates: CandidateRows) -> Occasion:
    """Return what a request is about."""
    if (candidates.rows < 0).mean() >= _NEW_ITEMS_SHARE:
        return "new_items"
    by_query_and_history: dict[tuple[bool, bool], Occasion] = {
        (True, True): "both",
        (True, False): "query",
        (False, True): "history",
        (False, False): "new_user",
    }
    return by_query_and_history[bool(user.query.strip()), len(user.history) > 0]


def _most_probable(probability: Float32Array, depth: int) -> RowIndices:
    if not depth:
        return _NO_ROWS
    return np.argsort(-probability, kind="stable")[:depth]


class _StepClock:
    """How long the steps of one request took."""

    def __init__(self) -> None:
        self.spent_ms = dict.fromkeys(("fuse", "tokenise", "late"), 0.0)
        self._began = time.perf_counter()

    def lap(self, step: str) -> None:
        """Add the time since the last lap to a step."""
        now = time.perf_counter()
        self.spent_ms[step] += (now - self._began) * 1e3
        self._began = now
