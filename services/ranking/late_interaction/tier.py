"""Late interaction within a deadline: as many candidates as there is time for, those of the release first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.arrays import Float32Array, RowIndices, TokenIds
from common.latency import LatencyEstimate
from services.ranking.late_interaction.scorer import ContextVectors, LateInteractionScorer
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.request import CandidateRows


@dataclass(frozen=True)
class LateScores:
    """What late interaction says of a request's candidates.

    Attributes:
        scores: NaN where it did not score the candidate; float32[candidates].
        ms: What it took.
    """

    scores: Float32Array
    ms: float = 0.0

    @classmethod
    def none(cls, candidates: int) -> LateScores:
        """Return what is said where nothing is scored."""
        return cls(np.full(candidates, np.nan, dtype=np.float32))


class LateInteractionTier:
    """Scores the candidates of requests; safe to share between threads.

    Args:
        late: Scores items.
        texts: Tokenises texts that the release does not have.
    """

    def __init__(self, late: LateInteractionScorer, texts: PairTokenizer) -> None:
        self._late = late
        self._texts = texts
        self._contexts, self._new_texts, self._joint = LatencyEstimate(), LatencyEstimate(), LatencyEstimate()

    def read(
        self,
        context: TokenIds,
        candidates: CandidateRows,
        texts: Mapping[int, str],
        chosen: RowIndices,
        deadline: float,
    ) -> LateScores:
        """Score candidates beside a user context.

        Where there is no time for the context or the joint step, nothing is scored; where there is none for all of the
        texts that the release does not have, the first of them are.

        Args:
            context: The user context's tokens.
            candidates: The request's candidates.
            texts: Texts of candidates without a catalogue row or with another text than the catalogue's, by place.
            chosen: Which candidates, by place, the most promising first.
            deadline: When the scores must be there, in seconds of the monotonic clock.
        """
        began = time.monotonic()
        reading = LateScores.none(len(candidates))
        known = np.array([place for place in chosen.tolist() if place not in texts], np.int64) if texts else chosen
        needed_s = self._joint.expected_s(len(chosen))
        if not self._late.knows_context(context):
            needed_s += self._contexts.expected_s(1)
        if not len(chosen) or began + needed_s > deadline:
            return reading
        vectors = self._context(context)
        self._score_known(vectors, candidates.rows, known, reading.scores)
        if texts:
            given = [place for place in chosen.tolist() if place in texts]
            self._score_texts(vectors, given, texts, deadline, reading.scores)
        return LateScores(reading.scores, (time.monotonic() - began) * 1e3)

    def score(self, context: TokenIds, row: int, text: str) -> float:
        """Score one item by its row, or by its text where there is one, however long it takes."""
        vectors = self._context(context)
        if text:
            tokens = self._texts.tokens([text], self._texts.settings.item_tokens)
            return float(self._late.scores_of_texts(vectors, list(tokens))[0])
        return float(self._late.scores(vectors, np.array([row]))[0])

    def _context(self, tokens: TokenIds) -> ContextVectors:
        began, known = time.monotonic(), self._late.knows_context(tokens)
        vectors = self._late.context(tokens)
        if not known:
            self._contexts.observe(1, time.monotonic() - began)
        return vectors

    def _score_known(self, context: ContextVectors, rows: RowIndices, places: RowIndices, scores: Float32Array) -> None:
        if not len(places):
            return
        began = time.monotonic()
        scores[places] = self._late.scores(context, rows[places])
        self._joint.observe(len(places), time.monotonic() - began)

    def _score_texts(
        self,
        context: ContextVectors,
        places: list[int],
        texts: Mapping[int, str],
        deadline: float,
        scores: Float32Array,
    ) -> None:
        """Score candidates given by texts, as many as there is time for."""
        tokens = list(self._texts.tokens([texts[place] for place in places], self._texts.settings.item_tokens))
        taken = self._affordable(tokens, deadline)
        if not taken:
            return
        began, unknown = time.monotonic(), self._late.unknown(tokens[:taken])
        scores[places[:taken]] = self._late.scores_of_texts(context, tokens[:taken])
        if unknown:
            self._new_texts.observe(unknown, time.monotonic() - began)

    def _affordable(self, texts: list[TokenIds], deadline: float) -> int:
        """Return how many of the texts, from the first on, there is time for."""
        left_s = deadline - time.monotonic()
        taken = len(texts)
        while taken and self._new_texts.expected_s(self._late.unknown(texts[:taken])) > left_s:
            taken //= 2
        return taken
