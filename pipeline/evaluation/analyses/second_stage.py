"""The second stage's quality by cross-encoder depth and without groups of features."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from common.arrays import Float64Array
from pipeline.measurement.metrics.estimates import Difference, Estimate, Latency
from pipeline.measurement.metrics.evaluation_result import Ablation, DepthResult
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import Answer, rankings
from pipeline.measurement.questions.local_runner import LocalRunner, ServedFeatures
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressStep
from services.ranking.cascade.fusion_model import FusionModel
from services.ranking.features.settings import FusionSettings

DEPTHS: Final = (0, 10, 20, 50, 100)
MEASURES: Final = ("ndcg@10", "hr@10")
# Enough to show the shape of the curve.
MAX_QUESTIONS: Final = 100
_LOGIT: Final = "cross-encoder"
_GROUPS: Final = (
    (_LOGIT, r"logit.*"),
    ("late interaction", r"late_.*"),
    ("first-stage scores", r"fused.*|source_.*|relative_.*"),
    ("item graphs", r"graph_.*"),
    ("text similarity", r"similarity_.*"),
    ("popularity", r"popularity.*|item_.*"),
    ("user's history of the item", r"repeat_.*|last_age|first_age|mean_gap|due|decayed_.*"),
    ("category and brand", r".*_(affinity|count|last_age|loyalty|due)"),
    ("amount of user history", r"history_.*|has_query"),
)


def reads_logits(runner: LocalRunner) -> bool:
    """Return whether the release's fusion uses the cross-encoder's logits."""
    return any(group_of(name) == _LOGIT for name in FusionSettings.load(runner.release).features)


def sample_evenly(questions: Sequence[Question]) -> Sequence[Question]:
    """Return at most a hundred questions, evenly spaced."""
    return questions[:: max(1, -(-len(questions) // MAX_QUESTIONS))]


def depth_results(
    runner: LocalRunner, questions: Sequence[Question], limit: int, seed: int, step: ProgressStep
) -> list[DepthResult]:
    """Measure answers and latency at each cross-encoder depth.

    Args:
        runner: The release's engines.
        questions: The questions.
        limit: Number of items in an answer.
        seed: Seed of the intervals.
        step: Advanced by one for each answer.
    """
    relevance = {question.key: question.relevant for question in questions}
    answers = runner.answer_at_depths(questions, limit, DEPTHS, step)
    scores = {depth: evaluate(rankings(given), relevance, MEASURES) for depth, given in answers.items()}
    return [
        DepthResult(
            cross_encoder_depth=depth,
            measures={name: Estimate.from_scores(values, seed) for name, values in scores[depth].items()},
            over_none=_differences(scores[depth], scores[0], seed) if depth else {},
            latency=_total_latency(given),
        )
        for depth, given in answers.items()
    ]


def ablations(
    runner: LocalRunner, questions: Sequence[Question], limit: int, seed: int, step: ProgressStep
) -> dict[str, Ablation]:
    """Measure the ranking without each group of the fusion's features; the trees are not refitted.

    Args:
        runner: The release's engines.
        questions: The questions.
        limit: Number of items in an answer.
        seed: Seed of the intervals.
        step: Advanced by one for each question.
    """
    names = FusionSettings.load(runner.release).features
    fusion = FusionModel.load(runner.release, len(names))
    served = runner.served_features(questions, limit, step)
    all_features = _scores(questions, served, fusion, limit, ())
    results = {}
    for group, columns in _columns(names).items():
        without = _scores(questions, served, fusion, limit, columns)
        results[group] = Ablation(features=len(columns), loss=_differences(all_features, without, seed))
    return results


def group_of(feature: str) -> str:
    """Return the group of a feature."""
    return next((group for group, pattern in _GROUPS if re.fullmatch(pattern, feature)), "others")


def _columns(names: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        groups.setdefault(group_of(name), []).append(column)
    return groups


def _scores(
    questions: Sequence[Question],
    served: Sequence[ServedFeatures],
    fusion: FusionModel,
    limit: int,
    missing: Sequence[int],
) -> dict[str, Float64Array]:
    """Measure the order by probability with the columns ``missing`` set to NaN."""
    ranked = {}
    for question, one in zip(questions, served, strict=True):
        matrix = one.matrix.copy()
        matrix[:, list(missing)] = np.nan
        best = np.argsort(-fusion.probability(matrix), kind="stable")[:limit]
        ranked[question.key] = [one.item_ids[position] for position in best]
    return evaluate(ranked, {question.key: question.relevant for question in questions}, MEASURES)


def _differences(
    scores: Mapping[str, Float64Array], others: Mapping[str, Float64Array], seed: int
) -> dict[str, Difference]:
    return {name: Difference.between(values, others[name], seed) for name, values in scores.items()}


def _total_latency(answers: Mapping[str, Answer]) -> Latency:
    values = [answer.ms["total"] for answer in answers.values()]
    return Latency(p50=float(np.median(values)), p95=float(np.quantile(values, 0.95)))
