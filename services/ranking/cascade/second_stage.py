"""The second stage: features, late interaction and the cross-encoder, fused into a probability."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from common.arrays import Float32Array
from common.onnx_session import SessionOptions
from common.release.event_weights import EventWeights
from common.release.store import Release
from common.tracing.spans import child_span
from services.ranking.admission.admission_control import AdmissionControl
from services.ranking.admission.time_budget import StepTimes, TimeBudget
from services.ranking.batching.batcher import Batcher, BatchReport
from services.ranking.batching.capacity import BatchLimits
from services.ranking.cascade.compute_pool import ComputePool, T
from services.ranking.cascade.explainer import Explainer, RankedCandidates
from services.ranking.cascade.models import RankingModels
from services.ranking.cascade.results import ExplainedProbability, Ranking, RequestedDepths, tiers_of
from services.ranking.cascade.tiers import Cascade, PreparedRequest
from services.ranking.cross_encoder.pair_scorer import MIN_READ_SHARE, PairScorer
from services.ranking.late_interaction.scorer import LateInteractionOptions
from services.ranking.pairs.pair_scores import PairResult, PairScores
from services.ranking.pairs.score_cache import ScoreCache
from services.ranking.release_settings import TierDepths
from services.ranking.request import CallContext, CandidateRows, UserRows

_WARM_UP_CANDIDATES: Final = 100


@dataclass(frozen=True)
class SecondStageOptions:
    """How a second stage runs.

    Attributes:
        session: How the cross-encoder's session is made.
        limits: The bounds of queue and batches.
        score_cache_size: How many logits to keep; 0 for none.
        threads: Threads for features, tokenising, late interaction and fusion.
        min_read_share: If other calls leave time for less than this share of the pairs that could be read without them,
            nothing is read.
        late: How late interaction runs.
    """

    session: SessionOptions = field(default_factory=SessionOptions)
    limits: BatchLimits = field(default_factory=BatchLimits)
    score_cache_size: int = 100_000
    threads: int = 1
    min_read_share: float = MIN_READ_SHARE
    late: LateInteractionOptions = field(default_factory=LateInteractionOptions)


class SecondStage:
    """Ranks candidates with one release. Use it on one event loop; close it at the end.

    Attributes:
        release: The release.
        catalogue: Its items.
        providers: The execution providers in use, by the models' names in the manifest.
        times: How long the steps of a call take. Callers must observe every answer; see `StepTimes.after_reading`.
    """

    def __init__(
        self,
        release: Release,
        models: RankingModels,
        options: SecondStageOptions,
        observe: Callable[[BatchReport], None],
    ) -> None:
        self.release = release
        self.catalogue = models.catalogue
        self.providers = models.providers
        self.times = StepTimes()
        self._models = models
        self._cascade = Cascade(models.features, models.fusion, models.late, models.tokenizer, self.times)
        self._batcher = _open_batcher(models, options, observe)
        self._warm_up()
        self._pool = ComputePool(options.threads, "second-stage")
        self._scorer: PairScorer | None = None
        if self._batcher is not None:
            cache = ScoreCache(options.score_cache_size)
            self._scorer = PairScorer(self._batcher, models.tokenizer.template, cache, options.min_read_share)
        self._admission = AdmissionControl(options.threads, self.times, self._scorer)
        self._explainer = Explainer(models, self._batcher, self._pool)

    @classmethod
    def load(
        cls,
        release: Release,
        options: SecondStageOptions | None = None,
        observe: Callable[[BatchReport], None] = lambda _: None,
    ) -> SecondStage:
        """Load and warm up the second stage of a release.

        Args:
            release: A verified release.
            options: How to run it.
            observe: Called with every batch, in a worker thread.

        Raises:
            BadRelease: The release can't be served; the message names the file or feature.
            NotReady: The execution provider is not available.
        """
        options = options or SecondStageOptions()
        return cls(release, RankingModels.load(release, options.session, options.late), options, observe)

    @property
    def sources(self) -> frozenset[str]:
        """The candidate sources whose scores the features read."""
        return self._models.features.sources

    @property
    def event_weights(self) -> EventWeights:
        """How much the release counts each kind of event."""
        return self._models.event_weights

    @property
    def has_late_interaction(self) -> bool:
        """Whether the release has the late-interaction tier."""
        return self._models.late is not None

    @property
    def has_cross_encoder(self) -> bool:
        """Whether the release has the cross-encoder."""
        return self._models.cross_encoder is not None

    @property
    def depth(self) -> int:
        """How many candidates the cross-encoder reads at most if nobody sets another depth."""
        return self._models.tokenizer.settings.depth if self.has_cross_encoder else 0

    @property
    def queued_pairs(self) -> int:
        """How many pairs wait for the cross-encoder."""
        return 0 if self._batcher is None else self._batcher.queued_pairs

    def admit(self, candidates: int, call: CallContext) -> TimeBudget:
        """Refuse a call that there is no time for, before its candidates are parsed; see `AdmissionControl.admit`."""
        return self._admission.admit(candidates, call)

    async def rank(
        self,
        user: UserRows,
        candidates: CandidateRows,
        texts: Mapping[int, str],
        depths: RequestedDepths,
        call: CallContext,
    ) -> Ranking:
        """Compute each candidate's probability.

        Each tier takes the most probable candidates by the tiers before it, as many as ``depths`` allows and as there
        is time for. Other calls are taken into account by `admit`, which is to be called first.

        Args:
            user: Whom the candidates are for.
            candidates: The candidates; at least one.
            texts: Texts of candidates without a catalogue row or with another text than the catalogue's, by index.
            depths: How many candidates the tiers take at most.
            call: By when and for whom; the deadline is that of the whole ranking.

        Raises:
            DeadlineTooShort: There is no time even for the features.
            Overloaded: The cross-encoder's queue is full, or leaves no time for the pairs that the call needs.
        """
        began = time.monotonic()
        tiers = self._possible(self._cascade.depths(user, candidates, depths, call.min_pairs), len(candidates))
        budget = self.times.budget(call.deadline, len(candidates), tiers.cross_encoder)
        budget.require_features(len(candidates))
        with child_span("prepare"), self._admission.computing_features(call):
            prepared = await self._pool.run(
                lambda: self._cascade.prepare(user, candidates, texts, tiers, budget.features_end_at),
                self._features_s(budget, user, candidates, texts, tiers),
            )
        result = await self._read(prepared, call)
        read_at = time.monotonic() if np.isnan(result.scores.read_at) else result.scores.read_at
        logit, probability, fuse_ms = await self._fuse(prepared, result.scores.logits)
        probability = self._ordered(user, candidates, prepared, logit, probability)
        return Ranking(
            probability,
            logit,
            prepared.late.scores,
            tiers,
            result,
            tokenise_ms=prepared.tokenise_ms,
            late_ms=prepared.late.ms,
            fuse_ms=prepared.fuse_ms + fuse_ms,
            total_ms=(time.monotonic() - began) * 1e3,
            read_at=read_at,
        )

    async def explain(
        self,
        user: UserRows,
        candidates: CandidateRows,
        texts: Mapping[int, str],
        index: int,
        depths: RequestedDepths,
        call: CallContext,
    ) -> ExplainedProbability:
        """Explain what decided the probability that `rank` gives to the candidate at ``index``.

        Args:
            user: Whom the candidates are for.
            candidates: The candidates.
            texts: Texts of candidates without a catalogue row or with another text than the catalogue's, by index.
            index: The candidate to explain.
            depths: How many candidates the tiers take at most.
            call: By when and for whom.

        Raises:
            DeadlineTooShort, Overloaded: As `Batcher.score` does.
        """
        tiers = self._possible(self._cascade.depths(user, candidates, depths), len(candidates))
        prepared = await self._pool.run(
            lambda: self._cascade.prepare(user, candidates, texts, tiers, call.deadline),
        )
        result = await self._read(prepared, call)
        logits, probability, _ = await self._fuse(prepared, result.scores.logits)
        probability = self._ordered(user, candidates, prepared, logits, probability)
        late_scores = prepared.late.scores
        ranked = RankedCandidates(prepared.matrix, late_scores, logits, probability, tiers_of(logits, late_scores))
        row, text = int(candidates.rows[index]), texts.get(index, "")
        return await self._explainer.explain(user, ranked, index, row, text, call)

    async def run(self, work: Callable[[], T]) -> T:
        """Run work on the stage's threads, such as reading a large request."""
        return await self._pool.run(work)

    def close(self) -> None:
        """End the threads; calls that wait fail with NotReady."""
        if self._batcher is not None:
            self._batcher.close()
        self._pool.close()

    def _possible(self, depths: TierDepths, candidates: int) -> TierDepths:
        """Return depths of at most the candidates, and 0 for the tiers that the release does not have."""
        return TierDepths.model_construct(
            late_interaction=min(depths.late_interaction, candidates) if self.has_late_interaction else 0,
            cross_encoder=min(depths.cross_encoder, candidates) if self.has_cross_encoder else 0,
        )

    def _features_s(
        self, budget: TimeBudget, user: UserRows, candidates: CandidateRows, texts: Mapping[int, str], tiers: TierDepths
    ) -> float:
        """Return how long the first step takes: infinite if it does more than the estimate of the features knows.

        The estimate goes by candidates: it knows neither texts to tokenise, nor long histories, nor late interaction.
        """
        late = self.has_late_interaction and tiers.late_interaction
        return math.inf if texts or late or len(user.history) > len(candidates) else budget.features_s

    async def _read(self, prepared: PreparedRequest, call: CallContext) -> PairResult:
        if self._scorer is None or not len(prepared.chosen):
            return PairResult(PairScores.unread(0))
        budget = self.times.budget(call.deadline, len(prepared.probability), len(prepared.chosen))
        with child_span("cross_encoder") as span:
            reading = replace(call, deadline=budget.reading_ends_at, span=span)
            return await self._scorer.score_pairs(prepared.context, prepared.items, prepared.keys, reading)

    async def _fuse(self, prepared: PreparedRequest, logits: Float32Array) -> tuple[Float32Array, Float32Array, float]:
        """Fuse the logits in; returns logits and probabilities of all candidates, and milliseconds."""
        if not len(prepared.chosen):
            return np.full(len(prepared.probability), np.nan, dtype=np.float32), prepared.probability, 0.0
        expected_s = self.times.fusion.expected_s(len(prepared.chosen))
        with child_span("fuse"):
            return await self._pool.run(lambda: self._cascade.fuse(prepared, logits), expected_s)

    def _ordered(
        self,
        user: UserRows,
        candidates: CandidateRows,
        prepared: PreparedRequest,
        logits: Float32Array,
        probability: Float32Array,
    ) -> Float32Array:
        by_features = bool(np.isnan(logits).all() and np.isnan(prepared.late.scores).all())
        return self._cascade.ordered(user, candidates, probability, by_features=by_features)

    def _warm_up(self) -> None:
        """Rank once, so that for the first call everything is loaded and the step times are known."""
        rows = np.arange(min(_WARM_UP_CANDIDATES, len(self.catalogue)))
        all_tiers = TierDepths(late_interaction=len(rows), cross_encoder=len(rows))
        prepared = self._cascade.prepare(UserRows(rows), CandidateRows.from_rows(rows), {}, all_tiers, math.inf)
        self._cascade.fuse(prepared, np.zeros(len(rows), dtype=np.float32))


def _open_batcher(
    models: RankingModels, options: SecondStageOptions, observe: Callable[[BatchReport], None]
) -> Batcher | None:
    """Measure what batches of the cross-encoder cost, and start its workers; None if the release has none."""
    if models.cross_encoder is None:
        return None
    cost = models.cross_encoder.warm_up(options.limits, models.tokenizer.settings.pair_tokens)
    return Batcher(models.cross_encoder, cost, options.limits, observe)
