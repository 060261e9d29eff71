"""Figures by slice: users by what is known of them, items by how well they sell, languages."""

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

SLICED: Final = ("ndcg@10", "hr@10", "recall@100")


_PARTS: Final = 3


_LEAST: Final = 5  # questions of a slice whose figures are worth an interval


Answers = Mapping[str, Answer]


def slices_of(questions: Questions, answers: Mapping[str, Answers], facts: ItemPopularity, seed: int) -> list[Slice]:
    """Measure every slice with at least five questions.

    By what is known of users, questions are told apart; by items and languages, what was wanted is: of each question
    only the wanted items of the slice count, and questions without one are left out.

    Args:
        questions: The questions; the new users's are a slice of their own.
        answers: The answers by mode and question, the new users's among them.
        facts: The catalogue.
        seed: Of the intervals.
    """
    found = [
        _slice(kind, name, part, answers, seed)
        for kind, name, part in [*_users(questions), *_items(questions.asked, facts), *_languages(questions, facts)]
        if len(part) >= _LEAST
    ]
    return [part for kind in dict.fromkeys(part.kind for part in found) for part in found if part.kind == kind]


def _slice(kind: str, name: str, part: Sequence[Question], answers: Mapping[str, Answers], seed: int) -> Slice:
    relevance = {question.key: question.relevant for question in part}
    modes = {}
    for mode, given in answers.items():
        scores = evaluate(rankings({key: given[key] for key in relevance}), relevance, SLICED)
        modes[mode] = {measure: Estimate.of(values, seed) for measure, values in scores.items()}
    return Slice(kind=kind, name=name, questions=len(part), modes=modes)


def _users(questions: Questions) -> Iterator[tuple[str, str, list[Question]]]:
    """Part users into those without history and three equal parts by its length."""
    yield "users", "new: no history", list(questions.new_users)
    lengths = np.array([len(question.history) for question in questions.asked])
    if not lengths.any():
        return
    order = np.argsort(lengths, kind="stable")
    for rows in np.array_split(order, _PARTS):
        if len(rows):
            name = f"{lengths[rows].min()} to {lengths[rows].max()} events"
            yield "users", name, [questions.asked[row] for row in rows]


def _items(asked: Sequence[Question], facts: ItemPopularity) -> Iterator[tuple[str, str, list[Question]]]:
    for number, name in enumerate(BANDS):
        yield "items wanted", name, _restricted(asked, facts.band == number, facts)


def _languages(questions: Questions, facts: ItemPopularity) -> Iterator[tuple[str, str, list[Question]]]:
    languages = facts.column("language")
    known = sorted({language for language in languages if language})
    if len(known) > 1:
        for name in known:
            belongs = np.array([language == name for language in languages])
            yield "language", name, _restricted(questions.asked, belongs, facts)


def _restricted(asked: Sequence[Question], belongs: npt.NDArray[np.bool_], facts: ItemPopularity) -> list[Question]:
    """Return the questions with the wanted items that belong, bool [items]; those that keep a wanted one."""
    kept = []
    for question in asked:
        rows = facts.catalogue.rows_of(list(question.relevant))
        pairs = zip(question.relevant.items(), rows.tolist(), strict=True)
        relevant = {item: grade for (item, grade), row in pairs if row >= 0 and belongs[row]}
        if any(grade > 0 for grade in relevant.values()):
            kept.append(replace(question, relevant=relevant))
    return kept
