"""The second stage: features, late interaction, the cross-encoder on the most promising, the fusion's probabilities."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import FloatArray
from common.errors import BadRelease
from common.latency import LatencyEstimate, LatenessReserve
from common.onnx_session import SessionOptions
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import Release
from services.ranking.admission.admission_control import AdmissionControl
from services.ranking.batching.batcher import Batcher, BatchReport
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.job import LEAST_SHARE, CallContext
from services.ranking.cascade.compute_pool import ComputePool
from services.ranking.cascade.fusion_model import FusionModel
from services.ranking.cascade.results import Depths, Explained, Ranking
from services.ranking.cascade.tiers import Cascade, PreparedRequest
from services.ranking.cross_encoder.explanation import explain
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.cross_encoder.pair_scorer import PairScorer
from services.ranking.features.feature_context import HalfLives
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.settings import FusionSettings
from services.ranking.late_interaction.scorer import LateInteractionOptions, LateInteractionScorer, has_late_interaction
from services.ranking.late_interaction.tier import LateInteractionTier
from services.ranking.pairs.pair_scores import PairResult, PairScores
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.pairs.score_cache import ScoreCache
from services.ranking.release_settings import TierDepths
from services.ranking.request import CandidateRows, UserRows

_WARM_UP_CANDIDATES: Final = 100


# Kept back for fusing and answering until it is known what these take.
_AFTER_READING_S: Final = 0.005


# At most this share of the time left, so that calls with little of it are read too.
_MOST_AFTER_READING: Final = 0.25


@dataclass(frozen=True)
class SecondStageOptions:
    """How a second stage runs.

    Attributes:
        session: How the cross-encoder's session is made.
        limits: The bounds of batches and queue.
        score_cache_size: How many logits to keep; 0 for none.
        threads: Threads for features, tokenising, late interaction and fusion.
        min_read_share: Where other calls leave time to read less than this share of what could be read without them,
            nothing is read.
        late: How late interaction runs.
    """

    session: SessionOptions = field(default_factory=SessionOptions)
    limits: BatchLimits = field(default_factory=BatchLimits)
    score_cache_size: int = 100_000
    threads: int = 1
    min_read_share: float = LEAST_SHARE
    late: LateInteractionOptions = field(default_factory=LateInteractionOptions)


class SecondStage:
    """Ranks candidates with one release. Use it on one event loop; close it at the end.

    Attributes:
        release: The release.
        catalogue: Its items.
        providers: The execution providers in use, by the models' names in the manifest.
        after_reading: What is kept back of a call's time for what comes after reading; to be told of every answer.
    """

    def __init__(self, release: Release, options: SecondStageOptions, observe: Callable[[BatchReport], None]) -> None:
        settings = FusionSettings.load(release)
        self.release = release
        self.catalogue = Catalogue.open(release.file(CATALOGUE))
        facts = ItemTables(release, self.catalogue)
        self._features = FeatureSet(
            settings.features, facts, HalfLives(settings.half_life_long, settings.half_life_short)
        )
        self._fusion = FusionModel.load(release, len(settings.features))
        self._texts = PairTokenizer.load(release, self.catalogue)
        cross_encoder = CrossEncoder.load(release, options.session)
        self.providers = {"cross_encoder": cross_encoder.provider, "fusion": self._fusion.provider}
        self._late = self._load_late(options.late)
        self._cascade = Cascade(self._features, self._fusion, self._late, self._texts)
        cost = cross_encoder.warm_up(options.limits, self._texts.settings.pair_tokens)
        self._preparing, self._finishing = LatencyEstimate(), LatencyEstimate()
        self._warm_up()
        self._threads = ComputePool(options.threads, "second-stage")
        self._batcher = Batcher(cross_encoder, cost, options.limits, observe)
        cache = ScoreCache(options.score_cache_size)
        self._reader = PairScorer(self._batcher, self._texts.template, cache, options.min_read_share)
        self._door = AdmissionControl(options.threads, self._preparing, self._reader)
        self.after_reading = LatenessReserve(_AFTER_READING_S)

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
            observe: Told of every batch, in a worker thread.

        Raises:
            BadRelease: The release can't be served; the message names the file or feature.
            NotReady: The wished execution provider can't be had.
        """
        missing = {"cross_encoder", "fusion"} - set(release.manifest.models)
        if missing:
            raise BadRelease(f"release {release.id}: the manifest lists no model called {', '.join(sorted(missing))}")
        return cls(release, options or SecondStageOptions(), observe)

    @property
    def sources(self) -> frozenset[str]:
        """The first stage's sources whose scores the features read."""
        return self._features.sources

    @property
    def has_late_interaction(self) -> bool:
        """Whether the release has the late-interaction tier."""
        return self._late is not None

    @property
    def depth(self) -> int:
        """How many candidates of a request the release wants read."""
        return self._texts.settings.depth

    @property
    def max_queued_pairs(self) -> int:
        """How many pairs wait for the cross-encoder."""
        return self._batcher.max_queued_pairs

    def check_room(self, candidates: int, terms: CallContext) -> None:
        """Refuse what there is no time for, before it is looked at; raises as `AdmissionControl.check`."""
        self._door.check(candidates, terms, self._kept_back_s(candidates, terms))

    async def rank(
        self, user: UserRows, candidates: CandidateRows, texts: Mapping[int, str], depths: Depths, terms: CallContext
    ) -> Ranking:
        """Give each candidate its probability.

        Each tier takes the candidates that are the most probable by those before it, as many as ``depths`` says, or as
        there is time for.

        Args:
            user: Whom the candidates are for.
            candidates: The candidates; at least one.
            texts: Texts of candidates without a catalogue row or with another text than the catalogue's, by place.
            depths: How many candidates the tiers take at most.
            terms: By when and for whom; the deadline is that of the whole ranking.

        Raises:
            DeadlineTooShort: There isn't even time for the features.
            Overloaded: The cross-encoder's queue is full, or too many calls wait for their features.
        """
        began = time.monotonic()
        self.check_room(len(candidates), terms)
        tiers = self._cascade.depths(user, candidates, depths, terms.least)
        # The pace knows candidates alone: not texts to tokenise, histories, or late interaction.
        long = texts or len(user.history) > len(candidates) or (self._late and tiers.late_interaction)
        expected_s = math.inf if long else self._preparing.expected_s(len(candidates))
        with self._door.passing(terms):
            prepared = await self._threads.run(
                lambda: self._prepare(user, candidates, texts, tiers, terms.deadline), expected_s
            )
        reading = await self._read(prepared, terms)
        read_at = time.monotonic() if np.isnan(reading.scores.read_at) else reading.scores.read_at
        logit, probability, fuse_ms = await self._finished(prepared, reading.scores.logits)
        return Ranking(
            probability,
            logit,
            prepared.late.scores,
            reading,
            tokenise_ms=prepared.tokenise_ms,
            late_ms=prepared.late.ms,
            fuse_ms=prepared.fuse_ms + fuse_ms,
            total_ms=(time.monotonic() - began) * 1e3,
            read_at=read_at,
        )

    @contextmanager
    def keeping_time(self, terms: CallContext) -> Iterator[None]:
        """Learn from a body that is cancelled past its deadline: the next ones' reading must end so much sooner."""
        planned = terms.deadline - _at_most_a_share(self.after_reading.seconds, terms)
        try:
            yield
        except asyncio.CancelledError:
            if (now := time.monotonic()) > terms.deadline:
                self.after_reading.observe(now - planned)
            raise

    async def explain(self, user: UserRows, candidate: CandidateRows, text: str, terms: CallContext) -> Explained:
        """Tell why one candidate has its probability.

        Args:
            user: Whom the candidate is for.
            candidate: The one candidate.
            text: Its text where it has no catalogue row or another text; else empty.
            terms: By when and for whom.

        Raises:
            DeadlineTooShort, Overloaded: As the batcher does.
        """
        row = int(candidate.rows[0])
        given, text = text, text or self._texts.item_text(row)
        explanation = await explain(user, text, self._texts, self._batcher, terms)
        matrix = await self._threads.run(lambda: self._explained_features(user, candidate, given, explanation.logit))
        features = dict(sorted(zip(self._features.names, matrix[0].tolist(), strict=True)))
        present = {name: value for name, value in features.items() if not np.isnan(value)}
        return Explained(float(self._fusion.probability(matrix)[0]), explanation, present)

    def close(self) -> None:
        """End the threads; what waits fails with NotReady."""
        self._batcher.close()
        self._threads.close()

    async def _read(self, prepared: PreparedRequest, terms: CallContext) -> PairResult:
        if not len(prepared.chosen):
            return PairResult(PairScores.unread(0))
        terms = replace(terms, deadline=terms.deadline - self._kept_back_s(len(prepared.chosen), terms))
        return await self._reader.read(prepared.context, prepared.items, prepared.keys, terms)

    def _kept_back_s(self, read: int, terms: CallContext) -> float:
        """Return how much of a call's time is kept back for fusing and answering."""
        return _at_most_a_share(max(self._finishing.expected_s(read), self.after_reading.seconds), terms)

    def _prepare(
        self,
        user: UserRows,
        candidates: CandidateRows,
        texts: Mapping[int, str],
        depths: TierDepths,
        deadline: float,
    ) -> PreparedRequest:
        began = time.perf_counter()
        until = deadline - self._finishing.expected_s(min(depths.cross_encoder, len(candidates)))
        prepared = self._cascade.prepare(user, candidates, texts, depths, until)
        self._preparing.observe(len(candidates), time.perf_counter() - began - prepared.late.ms / 1e3)
        return prepared

    async def _finished(
        self, prepared: PreparedRequest, logits: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float]:
        """Fuse again where there is a logit; returns logits and probabilities of all candidates, and milliseconds."""
        if not len(prepared.chosen):
            return np.full(len(prepared.probability), np.nan, dtype=np.float32), prepared.probability, 0.0
        return await self._threads.run(
            lambda: self._finish(prepared, logits), self._finishing.expected_s(len(prepared.chosen))
        )

    def _finish(
        self, prepared: PreparedRequest, logits: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float]:
        began = time.perf_counter()
        logit, probability = self._cascade.finish(prepared, logits)
        took_s = time.perf_counter() - began
        self._finishing.observe(len(prepared.chosen), took_s)
        return logit, probability, took_s * 1e3

    def _explained_features(self, user: UserRows, candidate: CandidateRows, text: str, logit: float) -> FloatArray:
        matrix = self._features.matrix(user, candidate, np.array([logit], dtype=np.float32))
        if self._late is None:
            return matrix
        context = self._texts.context(user.query, self._texts.context_items(user.history))
        score = self._late.score(context, int(candidate.rows[0]), text)
        return self._features.with_late(matrix, np.array([score], dtype=np.float32))

    def _load_late(self, options: LateInteractionOptions) -> LateInteractionTier | None:
        if not has_late_interaction(self.release):
            return None
        late = LateInteractionScorer.load(self.release, len(self.catalogue), self._texts.template, options)
        self.providers["late_interaction"] = late.provider
        return LateInteractionTier(late, self._texts)

    def _warm_up(self) -> None:
        """Rank once, so that the first caller finds everything loaded and the paces known."""
        rows = np.arange(min(_WARM_UP_CANDIDATES, len(self.catalogue)))
        everything = TierDepths(late_interaction=len(rows), cross_encoder=len(rows))
        prepared = self._prepare(UserRows(rows), CandidateRows.of(rows), {}, everything, np.inf)
        self._finish(prepared, np.zeros(len(rows), dtype=np.float32))


def _at_most_a_share(reserve_s: float, terms: CallContext) -> float:
    """Return what is kept back for what comes after reading, so that most of a call's time is left to read."""
    return min(reserve_s, _MOST_AFTER_READING * max(terms.deadline - time.monotonic(), 0.0))
