"""What each source of the first stage contributes: alone, to the others, and in hits that it alone has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from common.arrays import Float64Array
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.evaluation_result import SourceShare
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import Answer, rankings
from pipeline.measurement.questions.local_runner import Engines
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressStep

MEASURED: Final = ("ndcg@10", "recall@100")


def source_shares(
    engines: Engines,
    questions: Sequence[Question],
    first: Mapping[str, Answer],
    limit: int,
    seed: int,
    step: ProgressStep,
) -> dict[str, SourceShare]:
    """Ask the first stage with each source alone and with all others; weights stay as the release has them.

    Args:
        engines: The release's engines.
        questions: The questions.
        first: The first stage's answers with all sources.
        limit: How many items an answer has.
        seed: Of the intervals.
        step: Told of each answer.
    """
    names = engines.first.sources
    relevance = {question.key: question.relevant for question in questions}

    def scores(sources: Sequence[str]) -> dict[str, Float64Array]:
        answers = {question.key: engines.first_alone(question, limit, sources, step) for question in questions}
        return evaluate(rankings(answers), relevance, MEASURED)

    whole = evaluate(rankings(first), relevance, MEASURED)
    shares = _hits(questions, first, names)
    found = {}
    for name in names:
        alone = scores([name])
        others = scores([other for other in names if other != name]) if len(names) > 1 else alone
        hits, only = shares[name]
        found[name] = SourceShare(
            hits=hits,
            only=only,
            alone={measure: Estimate.of(values, seed) for measure, values in alone.items()},
            loss={measure: Difference.between(whole[measure], others[measure], seed) for measure in MEASURED},
        )
    return found


def _hits(
    questions: Sequence[Question], first: Mapping[str, Answer], names: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return for each source the share of wanted items listed that it found, and that it alone found."""
    found = [_found(question, first[question.key], names) for question in questions]
    hits = np.concatenate(found) if found else np.zeros((0, len(names)), np.bool_)
    total = max(len(hits), 1)
    single = hits.sum(axis=1) == 1
    return {
        name: (float(hits[:, place].sum() / total), float((hits[:, place] & single).sum() / total))
        for place, name in enumerate(names)
    }


def _found(question: Question, answer: Answer, names: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return which sources found each wanted item of an answer; bool [hits, sources]."""
    places = [place for place, item in enumerate(answer.item_ids) if question.relevant.get(item, 0.0) > 0]
    columns = [~np.isnan(answer.source_scores[name][places]) for name in names]
    return np.stack(columns, axis=1).reshape(len(places), len(names))
