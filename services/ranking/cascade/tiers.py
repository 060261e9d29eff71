"""The tiers before the cross-encoder, and the fusion of what all of them say.

Behaviour and other features come first and for every candidate, since they are the cheapest; late interaction takes
the most probable of these, mostly all; the cross-encoder is left the most probable by both.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.arrays import FloatArray, RowIndices, TokenIds
from common.ragged import TokenRows
from services.ranking.cascade.fusion_model import FusionModel
from services.ranking.cascade.results import Depths
from services.ranking.features.feature_set import FeatureSet
from services.ranking.late_interaction.tier import LateInteractionTier, LateScores
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.pairs.score_cache import ItemKey
from services.ranking.release_settings import Occasion, TierDepths
from services.ranking.request import CandidateRows, UserRows

# From this share of candidates on that the release does not know, they are what a request is about.
_NEW_SHARE = 0.5


@dataclass(frozen=True)
class PreparedRequest:
    """A request before the cross-encoder reads.

    Attributes:
        matrix: Its features, late interaction's among them; float32[candidates, features].
        probability: By these alone; float32[candidates].
        late: What late interaction said.
        chosen: What the cross-encoder is to read, by place, the most probable first.
        context: The user context's tokens.
        items: The chosen candidates' tokens.
        keys: What tells the chosen candidates' texts apart.
        fuse_ms: What features and fusion took.
        tokenise_ms: What tokenising took.
    """

    matrix: FloatArray
    probability: npt.NDArray[np.float32]
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
        features: What the fusion reads.
        fusion: Features to probability.
        late: Late interaction, None where the release has none.
        texts: Users and items in tokens.
    """

    def __init__(
        self, features: FeatureSet, fusion: FusionModel, late: LateInteractionTier | None, texts: PairTokenizer
    ) -> None:
        self._features = features
        self._fusion = fusion
        self._late = late
        self._texts = texts

    def depths(self, user: UserRows, candidates: CandidateRows, wanted: Depths, least: int = 0) -> TierDepths:
        """Return how deep the tiers go: as wanted, else as planned for the occasion.

        Args:
            user: Whom the candidates are for.
            candidates: The candidates.
            wanted: What the caller or the server says.
            least: How many candidates the caller insists on having read; a plan yields to it.
        """
        planned = self._texts.settings.planned(occasion(user, candidates))
        late, cross_encoder = wanted.late_interaction, wanted.cross_encoder
        return TierDepths(
            late_interaction=planned.late_interaction if late is None else late,
            cross_encoder=max(planned.cross_encoder, least) if cross_encoder is None else cross_encoder,
        )

    def prepare(
        self,
        user: UserRows,
        candidates: CandidateRows,
        texts: Mapping[int, str],
        depths: TierDepths,
        deadline: float,
    ) -> PreparedRequest:
        """Rank without the cross-encoder, and choose what it is to read.

        Args:
            user: Whom the candidates are for.
            candidates: The candidates.
            texts: Texts of candidates without a catalogue row or with another text than the catalogue's, by place.
            depths: How deep the tiers go.
            deadline: When late interaction must be done, in seconds of the monotonic clock.
        """
        clock = _Clock()
        matrix = self._features.matrix(user, candidates)
        clock.lap("fuse")
        context = self._texts.context(user.query, self._texts.context_items(user.history))
        clock.lap("tokenise")
        late = self._read_late(matrix, context, candidates, texts, depths.late_interaction, deadline)
        clock.lap("late")
        if not np.isnan(late.scores).all():
            matrix = self._features.with_late(matrix, late.scores)
        probability = self._fusion.probability(matrix)
        chosen = _best(probability, depths.cross_encoder)
        clock.lap("fuse")
        chosen_texts = {place: texts[row] for place, row in enumerate(chosen.tolist()) if row in texts}
        items, keys = self._texts.items(candidates.rows[chosen], chosen_texts)
        clock.lap("tokenise")
        spent = clock.spent_ms
        fuse_ms = spent["fuse"] + spent["late"] - late.ms
        return PreparedRequest(
            matrix,
            probability,
            late,
            chosen,
            context,
            items,
            keys,
            fuse_ms,
            spent["tokenise"],
        )

    def finish(
        self, prepared: PreparedRequest, logits: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Fuse again where there is a logit.

        Args:
            prepared: The request.
            logits: Of the chosen candidates, NaN where there is none.

        Returns:
            Logits and probabilities of all candidates.
        """
        logit = np.full(len(prepared.probability), np.nan, dtype=np.float32)
        logit[prepared.chosen] = logits
        read = np.flatnonzero(~np.isnan(logit))
        probability = prepared.probability.copy()
        probability[read] = self._fusion.probability(self._features.with_logits(prepared.matrix[read], logit[read]))
        return logit, probability

    def _read_late(
        self,
        matrix: FloatArray,
        context: TokenIds,
        candidates: CandidateRows,
        texts: Mapping[int, str],
        depth: int,
        deadline: float,
    ) -> LateScores:
        """Have late interaction score the ``depth`` most probable by the other features."""
        if self._late is None or not depth:
            return LateScores.none(len(candidates))
        everyone = depth >= len(candidates)
        chosen = np.arange(len(candidates)) if everyone else _best(self._fusion.probability(matrix), depth)
        return self._late.read(context, candidates, texts, chosen, deadline)


def occasion(user: UserRows, candidates: CandidateRows) -> Occasion:
    """Tell what a request is about."""
    if (candidates.rows < 0).mean() >= _NEW_SHARE:
        return "new_items"
    known: dict[tuple[bool, bool], Occasion] = {
        (True, True): "both",
        (True, False): "query",
        (False, True): "history",
        (False, False): "new_user",
    }
    return known[bool(user.query.strip()), len(user.history) > 0]


def _best(probability: npt.NDArray[np.float32], depth: int) -> RowIndices:
    return np.argsort(-probability, kind="stable")[:depth]


class _Clock:
    """What the steps of one request took."""

    def __init__(self) -> None:
        self.spent_ms = dict.fromkeys(("fuse", "tokenise", "late"), 0.0)
        self._began = time.perf_counter()

    def lap(self, step: str) -> None:
        """Count the time since the last lap for a step."""
        now = time.perf_counter()
        self.spent_ms[step] += (now - self._began) * 1e3
        self._began = now
