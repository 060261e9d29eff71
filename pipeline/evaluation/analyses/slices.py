"""Figures by slice: users by length of history, judged searches, items by popularity, languages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.measurement.metrics.estimates import Estimate
from pipeline.measurement.metrics.evaluation_result import Slice
from pipeline.measurement.metrics.item_popularity import BANDS, ItemPopularity
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import Answer, rankings
from pipeline.measurement.questions.protocols import Question, Questions

MEASURES: Final = ("ndcg@10", "hr@10", "recall@100")
_HISTORY_GROUPS: Final = 3
_MIN_QUESTIONS: Final = 5  # fewer make no useful interval
Answers = Mapping[str, Answer]


def measure_slices(
    questions: Questions, answers: Mapping[str, Answers], items: ItemPopularity, seed: int
) -> list[Slice]:
    """Measure every slice with at least five questions.

    Slices by user are disjoint sets of questions. In slices by item or language, only the relevant items of the slice
    count, and questions without one are left out.

    Args:
        questions: The questions; new users and judged searches are slices.
        answers: The answers by mode and question, those for new users included.
        items: The catalogue's items.
        seed: Seed of the intervals.
    """
    found = [
        _slice(kind, name, part, answers, seed)
        for kind, name, part in [
            *_users(questions),
            *_searches(questions),
            *_items(questions.main, items),
            *_languages(questions, items),
        ]
        if len(part) >= _MIN_QUESTIONS
    ]
    return [part for kind in dict.fromkeys(part.kind for part in found) for part in found if part.kind == kind]


def _slice(kind: str, name: str, part: Sequence[Question], answers: Mapping[str, Answers], seed: int) -> Slice:
    relevance = {question.key: question.relevant for question in part}
    modes = {}
    for mode, given in answers.items():
        scores = evaluate(rankings({key: given[key] for key in relevance}), relevance, MEASURES)
        modes[mode] = {measure: Estimate.from_scores(values, seed) for measure, values in scores.items()}
    return Slice(kind=kind, name=name, questions=len(part), modes=modes)


def _users(questions: Questions) -> Iterator[tuple[str, str, list[Question]]]:
    """Yield users without history, and three equal groups by length of history."""
    yield "users", "new: no history", list(questions.new_users)
    lengths = np.array([len(question.history) for question in questions.main])
    if not lengths.any():
        return
    order = np.argsort(lengths, kind="stable")
    for rows in np.array_split(order, _HISTORY_GROUPS):
        if len(rows):
            name = f"{lengths[rows].min()} to {lengths[rows].max()} events"
            yield "users", name, [questions.main[row] for row in rows]


def _searches(questions: Questions) -> Iterator[tuple[str, str, list[Question]]]:
    yield "searches", "judged, held out", list(questions.searches)


def _items(main: Sequence[Question], items: ItemPopularity) -> Iterator[tuple[str, str, list[Question]]]:
    for number, name in enumerate(BANDS):
        yield "relevant items", name, _restricted(main, items.band == number, items)
    yield "relevant items", "new: without a counted buyer", _restricted(main, items.popularity == 0, items)
    yield "relevant items", "in the history: bought again", _by_history(main, in_history=True)
    yield "relevant items", "not in the history: discovered", _by_history(main, in_history=False)


def _by_history(main: Sequence[Question], *, in_history: bool) -> list[Question]:
    """Restrict questions with a history to the relevant items that are in it, or to those that are not."""
    restricted = []
    for question in main:
        known = frozenset(question.history)
        relevant = {item: grade for item, grade in question.relevant.items() if (item in known) == in_history}
        if known and any(grade > 0 for grade in relevant.values()):
            restricted.append(replace(question, relevant=relevant))
    return restricted


def _languages(questions: Questions, items: ItemPopularity) -> Iterator[tuple[str, str, list[Question]]]:
    languages = items.column("language")
    known = sorted({language for language in languages if language})
    if len(known) > 1:
        for name in known:
            belongs = np.array([language == name for language in languages])
            yield "language", name, _restricted(questions.main, belongs, items)


def _restricted(main: Sequence[Question], belongs: npt.NDArray[np.bool_], items: ItemPopularity) -> list[Question]:
    """Restrict questions to the relevant items that belong, bool [items]; leave out those without one."""
    restricted = []
    for question in main:
        rows = items.catalogue.rows_of(list(question.relevant))
        pairs = zip(question.relevant.items(), rows.tolist(), strict=True)
        relevant = {item: grade for (item, grade), row in pairs if row >= 0 and belongs[row]}
        if any(grade > 0 for grade in relevant.values()):
            restricted.append(replace(question, relevant=relevant))
    return restricted
