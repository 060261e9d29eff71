"""Asking a release through the engines that serve it, in this process, the way the gateway puts them together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

import numpy as np

from common.release import Release
from pipeline.evaluation.answers import BOTH, CANDIDATES_PER_ITEM, POPULAR, Answer
from pipeline.evaluation.questions import Question
from pipeline.progress import Step
from services.ranking.pair_reader import Terms
from services.ranking.request_rows import CandidateRows, PersonRows
from services.ranking.second_stage import Options, SecondStage
from services.retrieval.first_stage import FirstStage
from services.retrieval.request import MAX_HISTORY, MAX_LIMIT, Candidates, Request

# The gateway's own default; see services.gateway.settings.
_CANDIDATES: Final = 100
# Quality is measured, so nothing is cut short.
_PATIENCE_S: Final = 600.0


class Engines:
    """A release's first and second stage.

    Attributes:
        first: The first stage, one thread.
        release: The release.
    """

    def __init__(self, release: Release, first: FirstStage) -> None:
        self.release = release
        self.first = first

    def ask(self, questions: Sequence[Question], mode: str, limit: int, step: Step) -> dict[str, Answer]:
        """Answer questions one after the other.

        Args:
            questions: The questions.
            mode: One of `answers.MODES`.
            limit: How many items to answer.
            step: Told of each answer.
        """
        if mode == BOTH:
            return asyncio.run(self._both(questions, limit, step))
        sources = ("popular",) if mode == POPULAR else ()
        return {question.key: self.first_alone(question, limit, sources, step) for question in questions}

    def first_alone(self, question: Question, limit: int, sources: Sequence[str], step: Step) -> Answer:
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

    async def _both(self, questions: Sequence[Question], limit: int, step: Step) -> dict[str, Answer]:
        # No cache: an item read for one person of a test must cost what it costs when served.
        with closing(SecondStage.load(self.release, Options(cached_scores=0))) as second:
            answers = {}
            for question in questions:
                answers[question.key] = await self._ranked(second, question, limit)
                step.advance()
            return answers

    async def _ranked(self, second: SecondStage, question: Question, limit: int) -> Answer:
        began = time.perf_counter()
        found, retrieval_ms = self._retrieve(question, question.query, limit, ())
        ranking = time.perf_counter()
        history = self.first.view.history_rows(question.history[-MAX_HISTORY:])
        person = PersonRows(history[history >= 0], question.query)
        ranked = await second.rank(person, _rows(found), {}, second.depth, Terms(time.monotonic() + _PATIENCE_S))
        ended = time.perf_counter()
        best = np.argsort(-ranked.probability, kind="stable")[:limit]
        item_ids = found.item_ids
        return Answer(
            [item_ids[place] for place in best],
            ranked.probability[best].astype(np.float64),
            {"retrieval": retrieval_ms, "ranking": (ended - ranking) * 1e3, "total": (ended - began) * 1e3},
            {name: found.source_scores[best, place] for place, name in enumerate(found.sources)},
        )

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
