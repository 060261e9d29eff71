"""The contribution of each candidate source to the first stage: alone, beyond the others, and in exclusive hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from common.arrays import Float64Array
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.evaluation_result import SourceContribution
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import Answer, rankings
from pipeline.measurement.questions.local_runner import LocalRunner
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressStep

MEASURES: Final = ("ndcg@10", "recall@100")


def source_contributions(
    runner: LocalRunner,
    questions: Sequence[Question],
    first_stage: Mapping[str, Answer],
    limit: int,
    seed: int,
    step: ProgressStep,
) -> dict[str, SourceContribution]:
    """Answer by the first stage with each source alone and with all others, at the release's weights.

    Args:
        runner: The release's engines.
        questions: The questions.
        first_stage: The first stage's answers with all sources.
        limit: Number of items in an answer.
        seed: Seed of the intervals.
        step: Advanced by one for each answer.
    """
    names = runner.first_stage.sources
    relevance = {question.key: question.relevant for question in questions}

    def scores(sources: Sequence[str]) -> dict[str, Float64Array]:
        answers = {question.key: runner.answer_by_first_stage(question, limit, sources, step) for question in questions}
        return evaluate(rankings(answers), relevance, MEASURES)

    all_sources = evaluate(rankings(first_stage), relevance, MEASURES)
    shares = _hits(questions, first_stage, names)
    results = {}
    for name in names:
        alone = scores([name])
        others = scores([other for other in names if other != name]) if len(names) > 1 else alone
        hit_share, exclusive = shares[name]
        results[name] = SourceContribution(
            hit_share=hit_share,
            exclusive_hit_share=exclusive,
            alone={measure: Estimate.from_scores(values, seed) for measure, values in alone.items()},
            loss={measure: Difference.between(all_sources[measure], others[measure], seed) for measure in MEASURES},
        )
    return results


def _hits(
    questions: Sequence[Question], first_stage: Mapping[str, Answer], names: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return for each source the share of the listed relevant items that it found, and that only it found."""
    by_question = [_found_by(question, first_stage[question.key], names) for question in questions]
    hits = np.concatenate(by_question) if by_question else np.zeros((0, len(names)), np.bool_)
    total = max(len(hits), 1)
    exclusive = hits.sum(axis=1) == 1
    return {
        name: (float(hits[:, column].sum() / total), float((hits[:, column] & exclusive).sum() / total))
        for column, name in enumerate(names)
    }


def _found_by(
    question: Question, answer: Answer, names: Sequence[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return which sources found each relevant item of an answer; bool [hits, sources]."""
    positions = [position for position, item in enumerate(answer.item_ids) if question.relevant.get(item, 0.0) > 0]
    columns = [~np.isnan(answer.source_scores[name][positions]) for name in names]
    return np.stack(columns, axis=1).reshape(len(positions), len(names))
