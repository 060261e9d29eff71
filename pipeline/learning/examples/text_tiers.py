"""What the fusion learns from the text tiers: features of labelled candidates with late scores and logits.

Scores are computed by the serving engines, from the models that are staged. What no model is staged for is missing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from common.onnx_session import SessionOptions
from common.release.catalogue import Catalogue
from common.release.store import Release
from pipeline.learning.examples.fusion import ndcg_by_request
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.text_pairs import pairs_of, score_pairs
from pipeline.learning.fusion.lambdamart import RankedExamples
from pipeline.learning.fusion.tier_plan import TierOption
from pipeline.learning.fusion.trees import FusionTrees, LabelledFeatures, raw_score
from pipeline.progress import ProgressStep
from services.ranking.cross_encoder.model import CrossEncoder, has_cross_encoder
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.late_interaction.scorer import LateInteractionScorer, has_late_interaction
from services.ranking.pairs.pair_tokenizer import PairTokenizer

_ALL_CANDIDATES: Final = 2_000  # more candidates than any request has


@dataclass(frozen=True, eq=False)
class FeatureExample:
    """A request's candidates and their features.

    Attributes:
        labelled: The candidates.
        matrix: float32[candidates, features].
    """

    labelled: LabelledCandidates
    matrix: Float32Array

    @property
    def labels(self) -> Float32Array:
        """1 if bought; float32[candidates]."""
        return self.labelled.labels

    def first(self, count: int) -> FeatureExample:
        """Return the first candidates alone."""
        return FeatureExample(self.labelled.first(count), self.matrix[:count])


@dataclass(frozen=True, eq=False)
class ReadCandidates:
    """The candidates that the cross-encoder would read, request by request.

    Attributes:
        filled: Features with logits; each float32[read candidates, features].
        plain: The same without logits, so that trees learn what to do without.
        labels: Each float32[read candidates].
    """

    filled: Sequence[Float32Array]
    plain: Sequence[Float32Array]
    labels: Sequence[Float32Array]

    def pointwise(self) -> LabelledFeatures:
        """Return all rows, with logits and without."""
        return LabelledFeatures(
            np.concatenate([*self.filled, *self.plain]), np.concatenate([*self.labels, *self.labels])
        )

    def by_request(self) -> RankedExamples | None:
        """Return the requests with something relevant, once with logits and once without; None if there are none."""
        rows = [*zip(self.filled, self.labels, strict=True), *zip(self.plain, self.labels, strict=True)]
        parts = [RankedExamples(matrix, labels, np.array([len(labels)])) for matrix, labels in rows if labels.any()]
        return RankedExamples.join(parts) if parts else None


def feature_examples(features: FeatureSet, labelled: Sequence[LabelledCandidates]) -> list[FeatureExample]:
    """Compute the features of requests' candidates as the ranking service does."""
    return [FeatureExample(one, features.matrix(one.user, one.candidates)) for one in labelled]


def feature_parts(examples: RankedExamples, labelled: Sequence[LabelledCandidates]) -> list[FeatureExample]:
    """Return each request of ranked examples, which may have only the first of a request's candidates."""
    matrices = np.split(examples.features, np.cumsum(examples.sizes)[:-1])
    return [FeatureExample(one.first(len(matrix)), matrix) for one, matrix in zip(labelled, matrices, strict=True)]


def ranked(examples: Sequence[FeatureExample]) -> RankedExamples:
    """Return requests as ranked examples."""
    rows, sizes = joined(examples), np.array([len(one.labels) for one in examples])
    return RankedExamples(rows.features, rows.labels, sizes)


def joined(examples: Sequence[FeatureExample]) -> LabelledFeatures:
    """Return the candidates of several requests, one after the other."""
    return LabelledFeatures(
        np.concatenate([one.matrix for one in examples]), np.concatenate([one.labels for one in examples])
    )


class TierExamples:
    """Adds the scores of the staged text tiers to features.

    Args:
        release: The release so far.
        catalogue: Its items.
        names: The features, those of text tiers last.
        depth: Number of candidates of a request that the cross-encoder scores.
    """

    def __init__(self, release: Release, catalogue: Catalogue, names: Sequence[str], depth: int) -> None:
        self.names = tuple(names)
        self._features = FeatureSet(names, ItemTables(release, catalogue))
        self._texts = PairTokenizer.load(release, catalogue)
        self._depth = depth
        self._late_s = self._pairs_s = 0.0
        self._scored = self._read_pairs = 0
        self._cross_encoder = CrossEncoder.load(release, SessionOptions()) if has_cross_encoder(release) else None
        self._late = (
            LateInteractionScorer.load(release, len(catalogue), self._texts.template)
            if has_late_interaction(release)
            else None
        )

    @property
    def has_late(self) -> bool:
        """Whether late interaction is staged."""
        return self._late is not None

    @property
    def reads(self) -> bool:
        """Whether the cross-encoder is staged."""
        return self._cross_encoder is not None

    def widened(self, examples: Sequence[FeatureExample]) -> list[FeatureExample]:
        """Return examples with a column for each feature, those of text tiers missing."""
        return [FeatureExample(one.labelled, self._wide(one.matrix)) for one in examples]

    def scored(self, examples: Sequence[FeatureExample]) -> list[FeatureExample]:
        """Return widened examples with late interaction's scores, if it is staged."""
        wide = self.widened(examples)
        return wide if self._late is None else [self._with_late(one, self._late) for one in wide]

    def read(
        self, examples: Sequence[FeatureExample], first: Sequence[lgb.Booster], step: ProgressStep
    ) -> ReadCandidates:
        """Return the candidates that the cross-encoder would read, chosen by the first trees."""
        chosen = [self._chosen(one.matrix, first) for one in examples]
        plain = [one.matrix[places] for one, places in zip(examples, chosen, strict=True)]
        labels = [one.labels[places] for one, places in zip(examples, chosen, strict=True)]
        logits = self._logits(examples, chosen, step)
        filled = [self._features.with_logits(part, read) for part, read in zip(plain, logits, strict=True)]
        return ReadCandidates(filled, plain, labels)

    def served(
        self, examples: Sequence[FeatureExample], first: Sequence[lgb.Booster], step: ProgressStep
    ) -> list[FeatureExample]:
        """Return every candidate as served at the full depth: the best ones with logits, the others without."""
        if self._cross_encoder is None:
            return list(examples)
        chosen = [self._chosen(one.matrix, first) for one in examples]
        served = []
        for one, places, logits in zip(examples, chosen, self._logits(examples, chosen, step), strict=True):
            matrix = one.matrix.copy()
            matrix[places] = self._features.with_logits(matrix[places], logits)
            served.append(FeatureExample(one.labelled, matrix))
        return served

    def time(self, examples: Sequence[FeatureExample], step: ProgressStep) -> None:
        """Score every candidate with the staged tiers, to learn what they cost."""
        self.scored(examples)
        self._logits(examples, [np.arange(len(one.labels)) for one in examples], step)

    @property
    def late_ms(self) -> float:
        """Milliseconds that late interaction took for a request so far."""
        return self._late_s / max(self._scored, 1) * 1e3

    @property
    def pair_ms(self) -> float:
        """Milliseconds that the cross-encoder took for a pair so far."""
        return self._pairs_s / max(self._read_pairs, 1) * 1e3

    def options(self, served: Sequence[FeatureExample], fusion: FusionTrees) -> list[TierOption]:
        """Measure time and quality of each choice of tiers, from candidates that all tiers have scored.

        At a smaller cross-encoder depth, only the best of the scored candidates keep their logits.
        """
        labelled = [one.labelled for one in served]
        late_ms, pair_ms = self.late_ms, self.pair_ms

        def option(late: int, depth: int) -> TierOption:
            scores = [self._served_with(one.matrix, fusion, late=bool(late), depth=depth) for one in served]
            return TierOption(late, depth, bool(late) * late_ms + depth * pair_ms, ndcg_by_request(labelled, scores))

        depths = sorted({0, self._depth // 3, self._depth}) if self._cross_encoder else [0]
        return [option(late, depth) for late in ((0, _ALL_CANDIDATES) if self._late else (0,)) for depth in depths]

    def _wide(self, matrix: Float32Array) -> Float32Array:
        missing = len(self.names) - matrix.shape[1]
        return np.pad(matrix, ((0, 0), (0, missing)), constant_values=np.nan) if missing else matrix

    def _with_late(self, example: FeatureExample, scorer: LateInteractionScorer) -> FeatureExample:
        user = example.labelled.user
        began = time.perf_counter()
        context = self._texts.context(user.query, self._texts.context_items(user.history))
        scores = scorer.score_rows(scorer.context_vectors(context), example.labelled.candidates.rows)
        self._late_s, self._scored = self._late_s + time.perf_counter() - began, self._scored + 1
        return FeatureExample(example.labelled, self._features.with_late(example.matrix, scores))

    def _chosen(self, matrix: Float32Array, first: Sequence[lgb.Booster]) -> npt.NDArray[np.int64]:
        return np.argsort(-raw_score(first, matrix), kind="stable")[: self._depth]

    def _logits(
        self, examples: Sequence[FeatureExample], chosen: Sequence[npt.NDArray[np.int64]], step: ProgressStep
    ) -> list[Float32Array]:
        if self._cross_encoder is None:
            return [np.full(len(places), np.nan, np.float32) for places in chosen]
        pairs = [pairs_of(one.labelled, places, self._texts) for one, places in zip(examples, chosen, strict=True)]
        count = sum(map(len, pairs))
        step.at(0, count)
        began = time.perf_counter()
        logits = score_pairs(self._cross_encoder, pairs, step)
        self._pairs_s, self._read_pairs = self._pairs_s + time.perf_counter() - began, self._read_pairs + count
        return logits

    def _served_with(
        self, matrix: Float32Array, fusion: FusionTrees, *, late: bool, depth: int
    ) -> npt.NDArray[np.float64]:
        """Return the probabilities of a request's candidates with fewer tiers or pairs."""
        none = np.full(len(matrix), np.nan, np.float32)
        logits = matrix[:, self.names.index("logit")] if "logit" in self.names else none
        blind = self._features.with_logits(matrix, none)
        blind = blind if late else self._features.with_late(blind, none)
        probability = fusion.probability(blind)
        preliminary_score = np.where(np.isnan(logits), -np.inf, probability)
        chosen = np.argsort(-preliminary_score, kind="stable")[: min(depth, int((~np.isnan(logits)).sum()))]
        if len(chosen):
            probability[chosen] = fusion.probability(self._features.with_logits(blind[chosen], logits[chosen]))
        return probability
