"""Answers evaluation questions with the serving engines in this process, combined as the gateway combines them."""

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
from pipeline.measurement.questions.answers import BOTH, CANDIDATES_PER_ITEM, POPULAR, Answer, tier_scores
from pipeline.measurement.questions.policy import select_by_policy
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressStep
from services.gateway.policy.policy import Policy
from services.ranking.cascade.results import Ranking, RequestedDepths
from services.ranking.cascade.second_stage import SecondStage, SecondStageOptions
from services.ranking.features.feature_context import HalfLives
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.settings import FusionSettings
from services.ranking.request import CallContext, CandidateRows, UserRows
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import MAX_HISTORY, MAX_LIMIT, Request

# The gateway's own default; see services.gateway.settings.
_CANDIDATES: Final = 100
# Long enough that no deadline shortens the ranking: quality is measured here.
_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, eq=False)
class ServedFeatures:
    """The fusion's features of one question's candidates, as served.

    Attributes:
        item_ids: The candidates.
        matrix: float32 [candidates, features], in the order of the release's features; NaN if missing.
    """

    item_ids: Sequence[str]
    matrix: npt.NDArray[np.floating[Any]]


class LocalRunner:
    """Answers questions with a release's first and second stage.

    Attributes:
        first_stage: The first stage, one thread.
        release: The release.
    """

    def __init__(self, release: Release, first_stage: FirstStage) -> None:
        self.release = release
        self.first_stage = first_stage

    def answer_questions(
        self, questions: Sequence[Question], mode: str, limit: int, step: ProgressStep, long_tail_share: float = 0.0
    ) -> dict[str, Answer]:
        """Answer questions one after the other.

        Args:
            questions: The questions.
            mode: One of `answers.MODES`.
            limit: Maximum number of items in an answer.
            step: Advanced by one for each answer.
            long_tail_share: Minimum long-tail share of an answer of both stages.
        """
        if mode == BOTH:
            return asyncio.run(self._answer_by_both_stages(questions, limit, (None,), step, long_tail_share))[0]
        sources = ("popular",) if mode == POPULAR else ()
        return {question.key: self.answer_by_first_stage(question, limit, sources, step) for question in questions}

    def answer_by_first_stage(
        self, question: Question, limit: int, sources: Sequence[str], step: ProgressStep
    ) -> Answer:
        """Answer by the first stage alone, with the given ``sources``, or with all if none are given."""
        query = "" if tuple(sources) == ("popular",) else question.query
        candidates, took_ms = self._retrieve(question, query, limit, sources)
        step.advance()
        return Answer(
            candidates.item_ids[:limit],
            np.full(min(limit, len(candidates)), np.nan),
            {"retrieval": took_ms, "total": took_ms},
            {name: candidates.source_scores[:limit, column] for column, name in enumerate(candidates.sources)},
        )

    def answer_at_depths(
        self, questions: Sequence[Question], limit: int, depths: Sequence[int], step: ProgressStep
    ) -> dict[int, dict[str, Answer]]:
        """Answer by both stages at each cross-encoder depth; returns the answers by depth."""
        return dict(zip(depths, asyncio.run(self._answer_by_both_stages(questions, limit, depths, step)), strict=True))

    def served_features(self, questions: Sequence[Question], limit: int, step: ProgressStep) -> list[ServedFeatures]:
        """Return the fusion's features of each question's candidates as served, logits included."""
        return asyncio.run(self._features(questions, limit, step))

    async def _answer_by_both_stages(
        self,
        questions: Sequence[Question],
        limit: int,
        depths: Sequence[int | None],
        step: ProgressStep,
        long_tail_share: float = 0.0,
    ) -> list[dict[str, Answer]]:
        """Answer at each depth; None is the release's own depth."""
        # No cache: each pair must take as long as it does when served to a new user.
        with closing(SecondStage.load(self.release, SecondStageOptions(score_cache_size=0))) as second:
            answers: list[dict[str, Answer]] = [{} for _ in depths]
            policy = Policy(limit, min_long_tail_share=long_tail_share)
            for depth, given in zip(depths, answers, strict=True):
                for question in questions:
                    given[question.key] = await self._answer_by_ranking(second, question, policy, depth)
                    step.advance()
            return answers

    async def _answer_by_ranking(
        self, second: SecondStage, question: Question, policy: Policy, depth: int | None
    ) -> Answer:
        started = time.perf_counter()
        candidates, retrieval_ms = self._retrieve(question, question.query, policy.limit, ())
        ranking_started = time.perf_counter()
        ranked = await self._rank(second, self._user(question, candidates), candidates, depth)
        ended = time.perf_counter()
        item_ids = candidates.item_ids
        selected = select_by_policy(
            item_ids,
            self.first_stage.long_tail.contains(candidates.snapshot, candidates.rows),
            ranked.probability,
            policy,
        )
        return Answer(
            [item_ids[position] for position in selected],
            ranked.probability[selected].astype(np.float64),
            {"retrieval": retrieval_ms, "ranking": (ended - ranking_started) * 1e3, "total": (ended - started) * 1e3},
            {name: candidates.source_scores[selected, column] for column, name in enumerate(candidates.sources)},
            tier_scores=tier_scores(ranked.logit, ranked.late_score, ranked.probability),
        )

    async def _features(self, questions: Sequence[Question], limit: int, step: ProgressStep) -> list[ServedFeatures]:
        settings = FusionSettings.load(self.release)
        served = []
        with closing(SecondStage.load(self.release)) as second:
            half_lives = HalfLives(settings.half_life_long, settings.half_life_short)
            features = FeatureSet(settings.features, ItemTables(self.release, second.catalogue), half_lives)
            for question in questions:
                candidates, _ = self._retrieve(question, question.query, limit, ())
                user = self._user(question, candidates)
                ranked = await self._rank(second, user, candidates, None)
                matrix = features.matrix(user, _candidate_rows(candidates))
                if not np.isnan(ranked.late_score).all():
                    matrix = features.with_late(matrix, ranked.late_score)
                scored = np.flatnonzero(~np.isnan(ranked.logit))
                matrix[scored] = features.with_logits(matrix[scored], ranked.logit[scored])
                served.append(ServedFeatures(candidates.item_ids, matrix))
                step.advance()
        return served

    async def _rank(self, second: SecondStage, user: UserRows, candidates: Candidates, depth: int | None) -> Ranking:
        context = CallContext(time.monotonic() + _TIMEOUT_S)
        return await second.rank(user, _candidate_rows(candidates), {}, RequestedDepths(cross_encoder=depth), context)

    def _user(self, question: Question, candidates: Candidates) -> UserRows:
        history = self.first_stage.snapshot.history_rows(question.history[-MAX_HISTORY:])
        return UserRows.from_history(
            history,
            candidates.query,
            self.first_stage.settings.events,
            question.history_kinds[-MAX_HISTORY:],
            question.history_ages_s[-MAX_HISTORY:],
        )

    def _retrieve(self, question: Question, query: str, limit: int, sources: Sequence[str]) -> tuple[Candidates, float]:
        depth = max(_CANDIDATES, min(MAX_LIMIT, CANDIDATES_PER_ITEM * limit))
        started = time.perf_counter()
        request = Request(
            query=query,
            history_item_ids=question.history[-MAX_HISTORY:],
            limit=depth,
            sources=tuple(sources),
            history_kinds=question.history_kinds[-MAX_HISTORY:],
            exclude_history=question.exclude_history,
        )
        candidates = self.first_stage.retrieve([request])[0]
        return candidates, (time.perf_counter() - started) * 1e3


@contextmanager
def local_runner(release: Release) -> Iterator[LocalRunner]:
    """Load a release's engines while the body runs; raises BadRelease if they cannot be loaded."""
    with closing(FirstStage.load(release)) as first_stage:
        yield LocalRunner(release, first_stage)


def _candidate_rows(candidates: Candidates) -> CandidateRows:
    sources = dict(zip(candidates.sources, candidates.source_scores.T, strict=True))
    return CandidateRows(candidates.rows, candidates.scores.astype(np.float32), sources)
