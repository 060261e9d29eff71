"""What makes the second stage's quality: how deep the cross-encoder reads, and what the fusion is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from common.arrays import Float64Array
from pipeline.measurement.metrics.estimates import Difference, Estimate, Latency
from pipeline.measurement.metrics.evaluation_result import Ablation, Depth
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import Answer, rankings
from pipeline.measurement.questions.local_runner import Engines, ServedFeatures
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressStep
from services.ranking.cascade.fusion_model import FusionModel
from services.ranking.features.settings import FusionSettings

DEPTHS: Final = (0, 10, 20, 50, 100)


MEASURED: Final = ("ndcg@10", "hr@10")


# So many questions are enough to tell how the curve runs.
MOST_QUESTIONS: Final = 100


_LOGIT: Final = "cross-encoder"


_GROUPS: Final = (
    (_LOGIT, r"logit.*"),
    ("late interaction", r"late_.*"),
    ("first stage's scores", r"fused.*|source_.*|relative_.*"),
    ("item graphs", r"graph_.*"),
    ("texts alike", r"similarity_.*"),
    ("how popular it is", r"popularity.*|item_.*"),
    ("what the user had of it", r"repeat_.*|last_age|first_age|mean_gap|due|decayed_.*"),
    ("category and brand", r".*_(affinity|count|last_age|loyalty|due)"),
    ("how much is known", r"history_.*|has_query"),
)


def reads_logits(local: Engines) -> bool:
    """Tell whether the release's fusion reads the cross-encoder's logits at all."""
    return any(group_of(name) == _LOGIT for name in FusionSettings.load(local.release).features)


def some(questions: Sequence[Question]) -> Sequence[Question]:
    """Return at most a hundred of the questions, evenly spread."""
    return questions[:: max(1, -(-len(questions) // MOST_QUESTIONS))]


def by_depth(local: Engines, questions: Sequence[Question], limit: int, seed: int, step: ProgressStep) -> list[Depth]:
    """Ask with the cross-encoder reading ever more candidates.

    Args:
        local: The release's engines.
        questions: The questions.
        limit: How many items an answer has.
        seed: Of the intervals.
        step: Told of each answer.
    """
    relevance = {question.key: question.relevant for question in questions}
    answers = local.at_depths(questions, limit, DEPTHS, step)
    scores = {depth: evaluate(rankings(given), relevance, MEASURED) for depth, given in answers.items()}
    return [
        Depth(
            read=depth,
            measures={name: Estimate.of(values, seed) for name, values in scores[depth].items()},
            over_none=_differences(scores[depth], scores[0], seed) if depth else {},
            latency=_total(given),
        )
        for depth, given in answers.items()
    ]


def by_hidden(
    local: Engines, questions: Sequence[Question], limit: int, seed: int, step: ProgressStep
) -> dict[str, Ablation]:
    """Rank again without each group of the fusion's features; the trees stay as they are.

    Args:
        local: The release's engines.
        questions: The questions.
        limit: How many items an answer has.
        seed: Of the intervals.
        step: Told of each question.
    """
    names = FusionSettings.load(local.release).features
    fusion = FusionModel.load(local.release, len(names))
    served = local.served_features(questions, limit, step)
    whole = _scores(questions, served, fusion, limit, ())
    found = {}
    for group, columns in _columns(names).items():
        without = _scores(questions, served, fusion, limit, columns)
        found[group] = Ablation(features=len(columns), loss=_differences(whole, without, seed))
    return found


def group_of(feature: str) -> str:
    """Return the group that a feature belongs to."""
    return next((group for group, pattern in _GROUPS if re.fullmatch(pattern, feature)), "others")


def _columns(names: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(group_of(name), []).append(place)
    return groups


def _scores(
    questions: Sequence[Question],
    served: Sequence[ServedFeatures],
    fusion: FusionModel,
    limit: int,
    hidden: Sequence[int],
) -> dict[str, Float64Array]:
    """Measure the order by probability where the columns ``hidden`` are missing."""
    ranked = {}
    for question, one in zip(questions, served, strict=True):
        matrix = one.matrix.copy()
        matrix[:, list(hidden)] = np.nan
        best = np.argsort(-fusion.probability(matrix), kind="stable")[:limit]
        ranked[question.key] = [one.item_ids[place] for place in best]
    return evaluate(ranked, {question.key: question.relevant for question in questions}, MEASURED)


def _differences(
    scores: Mapping[str, Float64Array], others: Mapping[str, Float64Array], seed: int
) -> dict[str, Difference]:
    return {name: Difference.between(values, others[name], seed) for name, values in scores.items()}


def _total(answers: Mapping[str, Answer]) -> Latency:
    values = [answer.ms["total"] for answer in answers.values()]
    return Latency(p50=float(np.median(values)), p95=float(np.quantile(values, 0.95)))
