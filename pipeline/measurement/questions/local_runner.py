"""Asking a release through the engines that serve it, in this process, the way the gateway puts them together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.release.store import Release
from pipeline.measurement.questions.answers import BOTH, CANDIDATES_PER_ITEM, POPULAR, Answer
from pipeline.measurement.questions.policy import chosen
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressStep
from services.gateway.policy.policy import Policy
from services.ranking.batching.job import CallContext
from services.ranking.cascade.results import Depths, Ranking
from services.ranking.cascade.second_stage import SecondStage, SecondStageOptions
from services.ranking.features.feature_context import HalfLives
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.settings import FusionSettings
from services.ranking.request import CandidateRows, UserRows
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import MAX_HISTORY, MAX_LIMIT, Request

# The gateway's own default; see services.gateway.settings.
_CANDIDATES: Final = 100


# Quality is measured, so nothing is cut short.
_PATIENCE_S: Final = 600.0


@dataclass(frozen=True, eq=False)
class ServedFeatures:
    """What the fusion reads of one question's candidates.

    Attributes:
        item_ids: The candidates.
        matrix: float32 [candidates, features], in the order of the release's features; NaN where one is missing.
    """

    item_ids: Sequence[str]
    matrix: npt.NDArray[np.floating[Any]]


class Engines:
    """A release's first and second stage.

    Attributes:
        first: The first stage, one thread.
        release: The release.
    """

    def __init__(self, release: Release, first: FirstStage) -> None:
        self.release = release
        self.first = first

    def ask(
        self, questions: Sequence[Question], mode: str, limit: int, step: ProgressStep, long_tail_share: float = 0.0
    ) -> dict[str, Answer]:
        """Answer questions one after the other.

        Args:
            questions: The questions.
            mode: One of `answers.MODES`.
            limit: How many items to answer.
            step: Told of each answer.
            long_tail_share: The least share of the tail, where both stages answer.
        """
        if mode == BOTH:
            return asyncio.run(self._both(questions, limit, (None,), step, long_tail_share))[0]
        sources = ("popular",) if mode == POPULAR else ()
        return {question.key: self.first_alone(question, limit, sources, step) for question in questions}

    def first_alone(self, question: Question, limit: int, sources: Sequence[str], step: ProgressStep) -> Answer:
        """Answer by the first stage, drawing from ``sources``, or from all where there are none."""
        query = "" if tuple(sources) == ("popular",) else question.query
        found, took_ms = self._retrieve(question, query, limit, sources)
        step.advance()
        return Answer(
            found.item_ids[:limit],
            np.full(min(limit, len(found)), np.nan),
            {"retrieval": took_ms, "total": took_ms},
            {name: found.source_scores[:limit, place] for place, name in enumerate(found.sources)},
        )

    def at_depths(
        self, questions: Sequence[Question], limit: int, depths: Sequence[int], step: ProgressStep
    ) -> dict[int, dict[str, Answer]]:
        """Answer by both stages, the cross-encoder reading so many candidates of each question; answers by depth."""
        return dict(zip(depths, asyncio.run(self._both(questions, limit, depths, step)), strict=True))

    def served_features(self, questions: Sequence[Question], limit: int, step: ProgressStep) -> list[ServedFeatures]:
        """Return what the fusion reads of each question's candidates when it is served, logits included."""
        return asyncio.run(self._features(questions, limit, step))

    async def _both(
        self,
        questions: Sequence[Question],
        limit: int,
        depths: Sequence[int | None],
        step: ProgressStep,
        long_tail_share: float = 0.0,
    ) -> list[dict[str, Answer]]:
        """Answer at each depth, None for the release's own."""
        # No cache: an item read for one user of a test must cost what it costs when served.
        with closing(SecondStage.load(self.release, SecondStageOptions(score_cache_size=0))) as second:
            answers: list[dict[str, Answer]] = [{} for _ in depths]
            policy = Policy(limit, min_long_tail_share=long_tail_share)
            for depth, given in zip(depths, answers, strict=True):
                for question in questions:
                    given[question.key] = await self._ranked(second, question, policy, depth)
                    step.advance()
            return answers

    async def _ranked(self, second: SecondStage, question: Question, policy: Policy, depth: int | None) -> Answer:
        began = time.perf_counter()
        found, retrieval_ms = self._retrieve(question, question.query, policy.limit, ())
        ranking = time.perf_counter()
        ranked = await self._rank(second, self._user(question), found, depth)
        ended = time.perf_counter()
        item_ids = found.item_ids
        best = chosen(item_ids, self.first.long_tail.contains(found.snapshot, found.rows), ranked.probability, policy)
        return Answer(
            [item_ids[place] for place in best],
            ranked.probability[best].astype(np.float64),
            {"retrieval": retrieval_ms, "ranking": (ended - ranking) * 1e3, "total": (ended - began) * 1e3},
            {name: found.source_scores[best, place] for place, name in enumerate(found.sources)},
        )

    async def _features(self, questions: Sequence[Question], limit: int, step: ProgressStep) -> list[ServedFeatures]:
        settings = FusionSettings.load(self.release)
        made = []
        with closing(SecondStage.load(self.release)) as second:
            lives = HalfLives(settings.half_life_long, settings.half_life_short)
            features = FeatureSet(settings.features, ItemTables(self.release, second.catalogue), lives)
            for question in questions:
                found, _ = self._retrieve(question, question.query, limit, ())
                user = self._user(question)
                ranked = await self._rank(second, user, found, None)
                matrix = features.matrix(user, _rows(found))
                if not np.isnan(ranked.late_score).all():
                    matrix = features.with_late(matrix, ranked.late_score)
                read = np.flatnonzero(~np.isnan(ranked.logit))
                matrix[read] = features.with_logits(matrix[read], ranked.logit[read])
                made.append(ServedFeatures(found.item_ids, matrix))
                step.advance()
        return made

    async def _rank(self, second: SecondStage, user: UserRows, found: Candidates, depth: int | None) -> Ranking:
        terms = CallContext(time.monotonic() + _PATIENCE_S)
        return await second.rank(user, _rows(found), {}, Depths(cross_encoder=depth), terms)

    def _user(self, question: Question) -> UserRows:
        history = self.first.snapshot.history_rows(question.history[-MAX_HISTORY:])
        return UserRows(history[history >= 0], question.query)

    def _retrieve(self, question: Question, query: str, limit: int, sources: Sequence[str]) -> tuple[Candidates, float]:
        depth = max(_CANDIDATES, min(MAX_LIMIT, CANDIDATES_PER_ITEM * limit))
        began = time.perf_counter()
        request = Request(
            query=query, history_item_ids=question.history[-MAX_HISTORY:], limit=depth, sources=tuple(sources)
        )
        found = self.first.retrieve([request])[0]
        return found, (time.perf_counter() - began) * 1e3


@contextmanager
def engines(release: Release) -> Iterator[Engines]:
    """Load a release's engines for as long as the body runs; raises BadRelease where they can't be."""
    with closing(FirstStage.load(release)) as first:
        yield Engines(release, first)


def _rows(found: Candidates) -> CandidateRows:
    sources = dict(zip(found.sources, found.source_scores.T, strict=True))
    return CandidateRows(found.rows, found.scores.astype(np.float32), sources)
