"""Cross-validation over the order of the first stage's candidates.

In each fold, learned anew from the other folds' questions: the first stage's source weights, and the fusion's trees
over behaviour (without the cross-encoder's logit). Never learned anew, in any fold: encoder, index, behaviour tables
and the cross-encoder, which come from the release. Candidates are found once, with the release's own weights. So it
tells how far these two orders depend on whom they are learned from, not how good a whole new build would be.
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
from pipeline.learning.examples.fusion import FusionExamples
from pipeline.learning.examples.labelled_candidates import Labelled, draw_candidates, learn_source_weights, situation
from pipeline.learning.fusion.trees import fit_behaviour
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.evaluation_result import Folds
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.local_runner import Engines
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressStep
from services.ranking.features.settings import FusionSettings
from services.retrieval.candidates.score_fusion import normalised

MEASURE: Final = "ndcg@10"


SERVED: Final = "first stage as served"


WEIGHTS: Final = "weights learned anew"


TREES: Final = "trees learned anew"


_WHAT: Final = {
    SERVED: "nothing: the release's own weights",
    WEIGHTS: "how much each source counts in each situation",
    TREES: "the fusion's trees over every feature but the cross-encoder's logit",
}


_CANDIDATES: Final = 200


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A question's candidates."""

    question: Question
    labelled: Labelled


def cross_validate(engines: Engines, questions: Sequence[Question], folds: int, seed: int, step: ProgressStep) -> Folds:
    """Order each fold's candidates by what the other folds teach.

    Args:
        engines: The release's engines.
        questions: The questions; those of one user, or of one query, fall into one fold.
        folds: How many folds, 2 and up.
        seed: Of the parting, the learning and the intervals.
        step: Told of each question as its candidates are found.

    Raises:
        InvalidRequest: Fewer than two folds, or more folds than users or queries.
    """
    fold_of = _parted([question.group for question in questions], folds, seed)
    requests = [_request(question) for question in questions]
    labelled = draw_candidates(engines.first, requests, _CANDIDATES, step)
    drawn = [_Drawn(question, example) for question, example in zip(questions, labelled, strict=True)]
    rankings: dict[str, dict[str, list[str]]] = {name: {} for name in _WHAT}
    ids = np.array(engines.first.snapshot.base.item_ids)
    for fold in range(folds):
        train = [part.labelled for part, its in zip(drawn, fold_of, strict=True) if its != fold]
        test = [part for part, its in zip(drawn, fold_of, strict=True) if its == fold]
        for name, scores in _orders(engines, train, [part.labelled for part in test], seed).items():
            for part, values in zip(test, scores, strict=True):
                best = part.labelled.candidates.rows[np.argsort(-values, kind="stable")]
                rankings[name][part.question.key] = ids[best].tolist()
    relevance = {question.key: question.relevant for question in questions}
    measured = {name: evaluate(found, relevance, [MEASURE])[MEASURE] for name, found in rankings.items()}
    return _summary(measured, np.array(fold_of), folds, "query" if questions[0].query else "user", seed)


def _parted(groups: Sequence[str], folds: int, seed: int) -> list[int]:
    """Give each question the fold of its group; groups are dealt out in a drawn order."""
    known = sorted(set(groups))
    if not 2 <= folds <= len(known):  # noqa: PLR2004 - learning and testing
        raise InvalidRequest(f"{folds} folds of {len(known)} users or queries: choose 2 to {len(known)}")
    order = np.random.default_rng(seed).permutation(len(known))
    fold_of = {known[group]: place % folds for place, group in enumerate(order.tolist())}
    return [fold_of[group] for group in groups]


def _request(question: Question) -> ShopRequest:
    wanted = frozenset(item for item, grade in question.relevant.items() if grade > 0)
    return ShopRequest(question.history, question.query, wanted)


def _orders(
    engines: Engines, train: Sequence[Labelled], test: Sequence[Labelled], seed: int
) -> dict[str, list[Float64Array]]:
    """Return the scores of each test question's candidates by each way to order them."""
    return {
        SERVED: [-np.arange(len(example.labels), dtype=np.float64) for example in test],
        WEIGHTS: _by_weights(train, test, engines.first.sources),
        TREES: _by_trees(engines, train, test, seed),
    }


def _by_weights(train: Sequence[Labelled], test: Sequence[Labelled], sources: Sequence[str]) -> list[Float64Array]:
    learned = learn_source_weights(train, sources)

    def scores(example: Labelled) -> Float64Array:
        given = np.stack([np.asarray(example.candidates.sources[name], np.float32) for name in sources], axis=1)
        weights = learned.get(situation(example.user), {})
        return np.asarray(normalised(given) @ np.array([weights.get(name, 1.0) for name in sources]))

    return [scores(example) for example in test]


def _by_trees(engines: Engines, train: Sequence[Labelled], test: Sequence[Labelled], seed: int) -> list[Float64Array]:
    names = FusionSettings.load(engines.release).features
    catalogue = Catalogue.open(engines.release.file(CATALOGUE))
    examples = FusionExamples(engines.release, catalogue, names, depth=0)
    trees = fit_behaviour(examples.without_logits(train), names, seed)
    raw = np.asarray(trees.predict(examples.without_logits(test).features, raw_score=True), np.float64)
    return np.split(raw, np.cumsum([len(example.labels) for example in test])[:-1])


def _summary(
    measured: Mapping[str, Float64Array],
    fold_of: np.ndarray[tuple[int], np.dtype[np.int64]],
    folds: int,
    by: str,
    seed: int,
) -> Folds:
    return Folds(
        by=by,
        measure=MEASURE,
        what=dict(_WHAT),
        folds={
            name: [float(values[fold_of == fold].mean()) for fold in range(folds)] for name, values in measured.items()
        },
        overall={name: Estimate.of(values, seed) for name, values in measured.items()},
        over_served={
            name: Difference.between(values, measured[SERVED], seed)
            for name, values in measured.items()
            if name != SERVED
        },
    )
