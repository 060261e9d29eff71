"""Cross-validation of the order of the first stage's candidates.

Each fold refits, on the other folds' questions, the first stage's source weights and the fusion's trees over behaviour
(without the cross-encoder's logit). Encoder, index, behaviour tables and cross-encoder come from the release in every
fold. Candidates are retrieved once, with the release's own weights. The result shows how much these two orders
depend on the users that they are fitted to, not how good a complete new build would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Float64Array
from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.labelled_candidates import (
    LabelledCandidates,
    label_candidates,
    learn_source_weights,
    request_kind,
    with_semantic_floor,
)
from pipeline.learning.examples.text_tiers import feature_examples, joined
from pipeline.learning.fusion.trees import fit_behaviour
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.evaluation_result import CrossValidation
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.local_runner import LocalRunner
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressStep
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.settings import FusionSettings
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.score_fusion import normalised

MEASURE: Final = "ndcg@10"
AS_SERVED: Final = "first stage as served"
WEIGHTS: Final = "refitted weights"
TREES: Final = "refitted trees"
_LEARNED: Final = {
    AS_SERVED: "nothing: the release's own weights",
    WEIGHTS: "the weight of each source for each kind of request",
    TREES: "the fusion's trees over every feature except the cross-encoder's logit",
}
_CANDIDATES: Final = 200


@dataclass(frozen=True, eq=False)
class _Candidates:
    """A question with its labelled candidates."""

    question: Question
    labelled: LabelledCandidates


def cross_validate(
    runner: LocalRunner, questions: Sequence[Question], folds: int, seed: int, step: ProgressStep
) -> CrossValidation:
    """Order each fold's candidates by models fitted to the other folds.

    Args:
        runner: The release's engines.
        questions: The questions; those of one user, or of one query, are in one fold.
        folds: Number of folds, at least 2.
        seed: Seed of folds, fits and intervals.
        step: Advanced by one for each question whose candidates are retrieved.

    Raises:
        InvalidRequest: There are fewer than two folds, or more folds than users or queries.
    """
    fold_of = _fold_of_each([question.group for question in questions], folds, seed)
    requests = [_request(question) for question in questions]
    labelled = label_candidates(runner.first_stage, requests, _CANDIDATES, step)
    candidates = [_Candidates(question, example) for question, example in zip(questions, labelled, strict=True)]
    rankings: dict[str, dict[str, list[str]]] = {name: {} for name in _LEARNED}
    ids = np.array(runner.first_stage.snapshot.base.item_ids)
    for fold in range(folds):
        train = [part.labelled for part, part_fold in zip(candidates, fold_of, strict=True) if part_fold != fold]
        test = [part for part, part_fold in zip(candidates, fold_of, strict=True) if part_fold == fold]
        for name, scores in _orders(runner, train, [part.labelled for part in test], seed).items():
            for part, values in zip(test, scores, strict=True):
                best = part.labelled.candidates.rows[np.argsort(-values, kind="stable")]
                rankings[name][part.question.key] = ids[best].tolist()
    relevance = {question.key: question.relevant for question in questions}
    measured = {name: evaluate(found, relevance, [MEASURE])[MEASURE] for name, found in rankings.items()}
    return _summary(measured, np.array(fold_of), folds, "query" if questions[0].query else "user", seed)


def _fold_of_each(groups: Sequence[str], folds: int, seed: int) -> list[int]:
    """Return the fold of each question; groups are dealt to folds in random order."""
    known = sorted(set(groups))
    if not 2 <= folds <= len(known):  # noqa: PLR2004 - one to fit, one to test
        raise InvalidRequest(f"{folds} folds of {len(known)} users or queries: choose 2 to {len(known)}")
    order = np.random.default_rng(seed).permutation(len(known))
    fold_of = {known[group]: position % folds for position, group in enumerate(order.tolist())}
    return [fold_of[group] for group in groups]


def _request(question: Question) -> ShopRequest:
    relevant = frozenset(item for item, grade in question.relevant.items() if grade > 0)
    return ShopRequest(question.history, question.query, relevant, question.history_kinds, question.history_ages_s)


def _orders(
    runner: LocalRunner, train: Sequence[LabelledCandidates], test: Sequence[LabelledCandidates], seed: int
) -> dict[str, list[Float64Array]]:
    """Return the scores of each test question's candidates, by order."""
    return {
        AS_SERVED: [-np.arange(len(example.labels), dtype=np.float64) for example in test],
        WEIGHTS: _by_weights(train, test, runner.first_stage),
        TREES: _by_trees(runner, train, test, seed),
    }


def _by_weights(
    train: Sequence[LabelledCandidates], test: Sequence[LabelledCandidates], first_stage: FirstStage
) -> list[Float64Array]:
    sources = first_stage.sources
    by_kind = with_semantic_floor(learn_source_weights(train, sources), first_stage.settings.kind_of)

    def scores(example: LabelledCandidates) -> Float64Array:
        given = np.stack([np.asarray(example.candidates.sources[name], np.float32) for name in sources], axis=1)
        weights = by_kind.get(request_kind(example.user), {})
        return np.asarray(normalised(given) @ np.array([weights.get(name, 1.0) for name in sources]))

    return [scores(example) for example in test]


def _by_trees(
    runner: LocalRunner, train: Sequence[LabelledCandidates], test: Sequence[LabelledCandidates], seed: int
) -> list[Float64Array]:
    names = FusionSettings.load(runner.release).features
    catalogue = Catalogue.open(runner.release.file(CATALOGUE))
    features = FeatureSet(names, ItemTables(runner.release, catalogue))
    trees = fit_behaviour(joined(feature_examples(features, train)), names, seed)
    found = joined(feature_examples(features, test))
    raw = np.asarray(trees.predict(found.features, raw_score=True), np.float64)
    return np.split(raw, np.cumsum([len(example.labels) for example in test])[:-1])


def _summary(
    measured: Mapping[str, Float64Array],
    fold_of: np.ndarray[tuple[int], np.dtype[np.int64]],
    folds: int,
    by: str,
    seed: int,
) -> CrossValidation:
    return CrossValidation(
        by=by,
        measure=MEASURE,
        learned=dict(_LEARNED),
        folds={
            name: [float(values[fold_of == fold].mean()) for fold in range(folds)] for name, values in measured.items()
        },
        overall={name: Estimate.from_scores(values, seed) for name, values in measured.items()},
        over_served={
            name: Difference.between(values, measured[AS_SERVED], seed)
            for name, values in measured.items()
            if name != AS_SERVED
        },
    )
