"""Late interaction within a deadline: as many candidates as there is time for, items of the release first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from common.arrays import Float32Array, RowIndices, TokenIds
from common.latency import LatencyEstimate
from services.ranking.late_interaction.scorer import ContextVectors, LateInteractionScorer
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.request import CandidateRows


@dataclass(frozen=True)
class LateScores:
    """Late interaction's scores of a request's candidates.

    Attributes:
        scores: NaN for a candidate that was not scored; float32[candidates].
        ms: How long scoring took.
    """

    scores: Float32Array
    ms: float = 0.0

    @classmethod
    def none(cls, candidates: int) -> LateScores:
        """Return scores without any."""
        return cls(np.full(candidates, np.nan, dtype=np.float32))


@dataclass(frozen=True)
class LateInteractionTimes:
    """How long the steps of late interaction take, learned from earlier calls.

    Attributes:
        contexts: Reading a user context with the tower.
        new_texts: Reading texts with the tower that the release does not have, by texts.
        joint: Scoring items of the release, by items.
    """

    contexts: LatencyEstimate = field(default_factory=LatencyEstimate)
    new_texts: LatencyEstimate = field(default_factory=LatencyEstimate)
    joint: LatencyEstimate = field(default_factory=LatencyEstimate)


class LateInteractionTier:
    """Scores the candidates of requests; safe to share between threads.

    Args:
        scorer: Scores items.
        tokenizer: Turns texts that the release does not have into tokens.
        times: How long the steps take, so far as known.
    """

    def __init__(
        self, scorer: LateInteractionScorer, tokenizer: PairTokenizer, times: LateInteractionTimes | None = None
    ) -> None:
        self._scorer = scorer
        self._tokenizer = tokenizer
        self._times = times or LateInteractionTimes()

    def score_candidates(
        self,
        context: TokenIds,
        candidates: CandidateRows,
        texts: Mapping[int, str],
        chosen: RowIndices,
        deadline: float,
    ) -> LateScores:
        """Score candidates for a user context.

        If there is no time for the context or the items of the release, nothing is scored. If there is no time for all
        texts that the release does not have, the first of them are scored.

        Args:
            context: The user context's tokens.
            candidates: The request's candidates.
            texts: Texts of candidates without a catalogue row or with another text than the catalogue's, by index.
            chosen: The indices of the candidates to score, the most probable first.
            deadline: When the scores are needed, in seconds of the monotonic clock.
        """
        began = time.monotonic()
        result = LateScores.none(len(candidates))
        known = np.array([index for index in chosen.tolist() if index not in texts], np.int64) if texts else chosen
        needed_s = self._times.joint.expected_s(len(chosen))
        if not self._scorer.knows_context(context):
            needed_s += self._times.contexts.expected_s(1)
        if not len(chosen) or began + needed_s > deadline:
            return result
        vectors = self._context_vectors(context)
        self._score_known(vectors, candidates.rows, known, result.scores)
        if texts:
            given = [index for index in chosen.tolist() if index in texts]
            self._score_texts(vectors, given, texts, deadline, result.scores)
        return LateScores(result.scores, (time.monotonic() - began) * 1e3)

    def score_item(self, context: TokenIds, row: int, text: str) -> float:
        """Score one item by its row, or by its text if it has one, however long it takes."""
        vectors = self._context_vectors(context)
        if text:
            return float(self._scorer.score_texts(vectors, self._tokens([text]))[0])
        return float(self._scorer.score_rows(vectors, np.array([row]))[0])

    def _tokens(self, texts: list[str]) -> list[TokenIds]:
        return list(self._tokenizer.tokens(texts, self._tokenizer.settings.item_tokens))

    def _context_vectors(self, tokens: TokenIds) -> ContextVectors:
        began, known = time.monotonic(), self._scorer.knows_context(tokens)
        vectors = self._scorer.context_vectors(tokens)
        if not known:
            self._times.contexts.observe(1, time.monotonic() - began)
        return vectors

    def _score_known(
        self, context: ContextVectors, rows: RowIndices, indices: RowIndices, scores: Float32Array
    ) -> None:
        if not len(indices):
            return
        began = time.monotonic()
        scores[indices] = self._scorer.score_rows(context, rows[indices])
        self._times.joint.observe(len(indices), time.monotonic() - began)

    def _score_texts(
        self,
        context: ContextVectors,
        indices: list[int],
        texts: Mapping[int, str],
        deadline: float,
        scores: Float32Array,
    ) -> None:
        """Score candidates given by texts, as many as there is time for."""
        tokens = self._tokens([texts[index] for index in indices])
        count = self._affordable(tokens, deadline)
        if not count:
            return
        began, new = time.monotonic(), self._scorer.count_unknown(tokens[:count])
        scores[indices[:count]] = self._scorer.score_texts(context, tokens[:count])
        if new:
            self._times.new_texts.observe(new, time.monotonic() - began)

    def _affordable(self, texts: list[TokenIds], deadline: float) -> int:
        """Return how many of the texts, from the first on, there is time for."""
        left_s = deadline - time.monotonic()
        count = len(texts)
        while count and self._times.new_texts.expected_s(self._scorer.count_unknown(texts[:count])) > left_s:
            count //= 2
        return count
