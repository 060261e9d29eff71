"""The second stage: features, the cross-encoder on the most promising candidates, the fusion's probabilities."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from common.catalogue import Catalogue
from common.errors import BadRelease
from common.layout import CATALOGUE
from common.onnx_session import SessionOptions
from common.release import Release
from services.ranking.batcher import Batcher, BatchReport
from services.ranking.capacity import BatchLimits
from services.ranking.cross_encoder import CrossEncoder
from services.ranking.door import Door
from services.ranking.explain import Explanation, explain
from services.ranking.features import Features
from services.ranking.fusion import Fusion
from services.ranking.item_facts import ItemFacts
from services.ranking.pace import Pace
from services.ranking.pair_reader import LEAST_SHARE, PairReader, Reading, Terms
from services.ranking.pair_scores import PairScores
from services.ranking.pair_texts import PairTexts
from services.ranking.pairs import TokenRows, Tokens
from services.ranking.release_settings import FusionSettings
from services.ranking.request_rows import CandidateRows, Floats, PersonRows, Rows
from services.ranking.reserve import Reserve
from services.ranking.score_cache import ItemKey, ScoreCache
from services.ranking.situation import HalfLives

T = TypeVar("T")

_WARM_UP_CANDIDATES: Final = 100
# Kept back for fusing and answering until it is known what these take.
_AFTER_READING_S: Final = 0.005


@dataclass(frozen=True)
class Options:
    """How a second stage runs.

    Attributes:
        session: How the cross-encoder's session is made.
        limits: The bounds of batches and queue.
        cached_scores: How many logits to keep; 0 for none.
        threads: Threads for features, tokenising and fusion.
        least_share: Where other calls leave time to read less than this share of what could be read without them,
            nothing is read.
    """

    session: SessionOptions = field(default_factory=SessionOptions)
    limits: BatchLimits = field(default_factory=BatchLimits)
    cached_scores: int = 100_000
    threads: int = 1
    least_share: float = LEAST_SHARE


@dataclass(frozen=True)
class Ranking:
    """The probabilities of a request's candidates, and what they took.

    Attributes:
        probability: float32[candidates].
        logit: The cross-encoder's, NaN where it did not read the candidate; float32[candidates].
        reading: What became of the pairs.
        tokenise_ms: Tokenising.
        fuse_ms: Features, fusion and calibration.
        total_ms: All of it, waiting included.
        read_at: When the last pair had been read, in seconds of the monotonic clock.
    """

    probability: npt.NDArray[np.float32]
    logit: npt.NDArray[np.float32]
    reading: Reading
    tokenise_ms: float
    fuse_ms: float
    total_ms: float
    read_at: float


@dataclass(frozen=True)
class Explained:
    """Why a candidate has its probability.

    Attributes:
        probability: The candidate's.
        explanation: What moved its logit.
        features: What the fusion read, by name in order, those missing left out.
    """

    probability: float
    explanation: Explanation
    features: dict[str, float]


@dataclass(frozen=True)
class _Prepared:
    """A request before the cross-encoder reads: its features, the probabilities by these alone, and what to read."""

    matrix: Floats
    probability: npt.NDArray[np.float32]
    chosen: Rows
    context: Tokens
    items: TokenRows
    keys: list[ItemKey]
    fuse_ms: float
    tokenise_ms: float


class SecondStage:
    """Ranks candidates with one release. Use it on one event loop; close it at the end.

    Attributes:
        release: The release.
        catalogue: Its items.
        providers: The execution providers in use, by the models' names in the manifest.
        after_reading: What is kept back of a call's time for what comes after reading; to be told of every answer.
    """

    def __init__(self, release: Release, options: Options, observe: Callable[[BatchReport], None]) -> None:
        settings = FusionSettings.load(release)
        self.release = release
        self.catalogue = Catalogue.open(release.file(CATALOGUE))
        facts = ItemFacts(release, self.catalogue)
        self._features = Features(
            settings.features, facts, HalfLives(settings.half_life_long, settings.half_life_short)
        )
        self._fusion = Fusion.load(release, len(settings.features))
        self._texts = PairTexts.load(release, self.catalogue)
        cross_encoder = CrossEncoder.load(release, options.session)
        self.providers = {"cross_encoder": cross_encoder.provider, "fusion": self._fusion.provider}
        cost = cross_encoder.warm_up(options.limits, self._texts.settings.pair_tokens)
        self._preparing, self._finishing = Pace(), Pace()
        self._warm_up()
        self._threads = ThreadPoolExecutor(options.threads, thread_name_prefix="second-stage")
        self._batcher = Batcher(cross_encoder, cost, options.limits, observe)
        cache = ScoreCache(options.cached_scores)
        self._reader = PairReader(self._batcher, self._texts.template, cache, options.least_share)
        self._door = Door(options.threads, self._preparing, self._reader)
        self.after_reading = Reserve(_AFTER_READING_S)

    @classmethod
    def load(
        cls, release: Release, options: Options | None = None, observe: Callable[[BatchReport], None] = lambda _: None
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
        return cls(release, options or Options(), observe)

    @property
    def sources(self) -> frozenset[str]:
        """The first stage's sources whose scores the features read."""
        return self._features.sources

    @property
    def depth(self) -> int:
        """How many candidates of a request the release wants read."""
        return self._texts.settings.depth

    @property
    def queued_pairs(self) -> int:
        """How many pairs wait for the cross-encoder."""
        return self._batcher.queued_pairs

    def check_room(self, candidates: int, terms: Terms) -> None:
        """Refuse what there is no time for, before it is looked at; raises as `Door.check`."""
        self._door.check(candidates, terms)

    async def rank(
        self, person: PersonRows, candidates: CandidateRows, texts: Mapping[int, str], depth: int, terms: Terms
    ) -> Ranking:
        """Give each candidate its probability.

        The cross-encoder reads the ``depth`` candidates that are the most probable without it, or as many of them as
        there is time for.

        Args:
            person: Whom the candidates are for.
            candidates: The candidates; at least one.
            texts: Texts of candidates without a catalogue row or with another text than the catalogue's, by place.
            depth: How many candidates the cross-encoder reads at most.
            terms: By when and for whom; the deadline is that of the whole ranking.

        Raises:
            DeadlineTooShort: There isn't even time for the features.
            Overloaded: The cross-encoder's queue is full, or too many calls wait for their features.
        """
        began = time.monotonic()
        self._door.check(len(candidates), terms)
        with self._door.passing():
            prepared = await self._in_thread(lambda: self._prepare(person, candidates, texts, depth))
        reading = await self._read(prepared, terms)
        read_at = time.monotonic() if np.isnan(reading.scores.read_at) else reading.scores.read_at
        logit, probability, fuse_ms = await self._in_thread(lambda: self._finish(prepared, reading.scores.logits))
        return Ranking(
            probability,
            logit,
            reading,
            tokenise_ms=prepared.tokenise_ms,
            fuse_ms=prepared.fuse_ms + fuse_ms,
            total_ms=(time.monotonic() - began) * 1e3,
            read_at=read_at,
        )

    async def explain(self, person: PersonRows, candidate: CandidateRows, text: str, terms: Terms) -> Explained:
        """Tell why one candidate has its probability.

        Args:
            person: Whom the candidate is for.
            candidate: The one candidate.
            text: Its text where it has no catalogue row or another text; else empty.
            terms: By when and for whom.

        Raises:
            DeadlineTooShort, Overloaded: As the batcher does.
        """
        row = int(candidate.rows[0])
        text = text or self._texts.item_text(row)
        explanation = await explain(person, text, self._texts, self._batcher, terms)
        logit = np.array([explanation.logit], dtype=np.float32)
        matrix = await self._in_thread(lambda: self._features.matrix(person, candidate, logit))
        features = dict(sorted(zip(self._features.names, matrix[0].tolist(), strict=True)))
        present = {name: value for name, value in features.items() if not np.isnan(value)}
        return Explained(float(self._fusion.probability(matrix)[0]), explanation, present)

    def close(self) -> None:
        """End the threads; what waits fails with NotReady."""
        self._batcher.close()
        self._threads.shutdown()

    async def _read(self, prepared: _Prepared, terms: Terms) -> Reading:
        if not len(prepared.chosen):
            return Reading(PairScores.unread(0))
        reserve_s = max(self._finishing.expected_s(len(prepared.chosen)), self.after_reading.seconds)
        terms = replace(terms, deadline=terms.deadline - reserve_s)
        return await self._reader.read(prepared.context, prepared.items, prepared.keys, terms)

    def _prepare(
        self, person: PersonRows, candidates: CandidateRows, texts: Mapping[int, str], depth: int
    ) -> _Prepared:
        began = time.perf_counter()
        matrix = self._features.matrix(person, candidates)
        probability = self._fusion.probability(matrix)
        fused = time.perf_counter()
        chosen = np.argsort(-probability, kind="stable")[:depth]
        context = self._texts.context(person.query, self._texts.context_items(person.history))
        chosen_texts = {place: texts[row] for place, row in enumerate(chosen.tolist()) if row in texts}
        items, keys = self._texts.items(candidates.rows[chosen], chosen_texts)
        ended = time.perf_counter()
        self._preparing.observe(len(candidates), ended - began)
        fuse_ms, tokenise_ms = (fused - began) * 1e3, (ended - fused) * 1e3
        return _Prepared(matrix, probability, chosen, context, items, keys, fuse_ms, tokenise_ms)

    def _finish(
        self, prepared: _Prepared, logits: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float]:
        """Fuse again where there is a logit; returns logits and probabilities of all candidates, and milliseconds."""
        began = time.perf_counter()
        logit = np.full(len(prepared.probability), np.nan, dtype=np.float32)
        logit[prepared.chosen] = logits
        read = np.flatnonzero(~np.isnan(logit))
        probability = prepared.probability.copy()
        probability[read] = self._fusion.probability(self._features.with_logits(prepared.matrix[read], logit[read]))
        took_s = time.perf_counter() - began
        self._finishing.observe(len(prepared.chosen), took_s)
        return logit, probability, took_s * 1e3

    def _warm_up(self) -> None:
        """Rank once, so that the first caller finds everything loaded and the paces known."""
        rows = np.arange(min(_WARM_UP_CANDIDATES, len(self.catalogue)))
        prepared = self._prepare(PersonRows(rows), CandidateRows.of(rows), {}, len(rows))
        self._finish(prepared, np.zeros(len(rows), dtype=np.float32))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
