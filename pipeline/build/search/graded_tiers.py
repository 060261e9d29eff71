"""Which text tiers a release of judged queries gets: by the gain of the fusion, query by query."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.build.search.search_examples import FUSION, UNREAD, UNSCORED, HeldOut, graded_examples
from pipeline.build.search.search_models import SearchModels
from pipeline.build.second_stage.text_tiers import probe_gains
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.judged_queries import JudgedQuery, folds_of
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.text_tiers import FeatureExample, TierExamples
from pipeline.learning.fusion.graded_trees import CrossFitted, cross_fit_fusion
from pipeline.learning.fusion.tier_plan import TierOption, choose_depths
from pipeline.measurement.metrics.reranking import JudgedLists, per_query
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.request import CandidateRows, UserRows

_ALL_CANDIDATES: Final = 2_000
_QUERY: Final = "query"
# The short training reads this many queries, and is measured on as many others.
_PROBE_QUERIES: Final = 400
_PROBE_FOLDS: Final = 5
_PROBE_WARM_UP_STEPS: Final = 5
_RELEVANT_GRADE: Final = 0.5
# Queries that the tiers are timed on.
_TIMED: Final = 32


def short_training_gains(
    context: BuildContext,
    models: SearchModels,
    queries: Sequence[JudgedQuery],
    fold: npt.NDArray[np.int64],
    cosines: Callable[[Path, Sequence[JudgedQuery]], Float32Array],
) -> bool:
    """Train a cross-encoder for an epoch on some queries, and return whether the fusion gains by it on others.

    Args:
        context: The build; the word index is staged.
        models: Trains and keeps models.
        queries: The judged queries.
        fold: The fold of each.
        cosines: Compares queries and items by an encoder.
    """
    train, held = (_sample(queries, fold, context.settings.seed, held=held) for held in (False, True))
    short = models.with_cross_encoder(
        dataclasses.replace(context.settings.cross_encoder, epochs=1, warm_up_steps=_PROBE_WARM_UP_STEPS)
    )
    model, began = short.cross_encoder(train), time.perf_counter()
    scores = HeldOut(cosines(models.base_encoder(), held), short.logits(model, held), None)
    pair_ms = (time.perf_counter() - began) * 1e3 / sum(len(one.rows) for one in held)
    names = context.recipe.features_with(cross_encoder=True, late_interaction=False)
    folds = folds_of(held, min(_PROBE_FOLDS, len(held)), context.settings.seed)
    with context.report.step("Fitting the fusion of the short training") as step:
        features = FeatureSet(names, ItemTables(context.staging.release(), models.catalogue))
        examples = graded_examples(features, held, scores, folds, step)
        seeds, trees = [context.settings.seed], context.settings.trees
        fitted = cross_fit_fusion(examples, names, seeds=seeds, trees=trees, step=step)
    options = graded_options(fitted, held, context.settings.cross_encoder_depth, 0.0, pair_ms)
    return probe_gains(context, options, [_QUERY] * len(options[0].gain))


def graded_options(
    fitted: CrossFitted, queries: Sequence[JudgedQuery], depth: int, late_ms: float, pair_ms: float
) -> list[TierOption]:
    """Return time and held-out quality of each choice of tiers that the fusion was fitted for.

    A judged list has a handful of items, so the cross-encoder reads all of it or nothing.

    Args:
        fitted: The fusion, with held-out probabilities by view.
        queries: The judged queries.
        depth: Candidates that the cross-encoder reads.
        late_ms: Milliseconds of late interaction for a request.
        pair_ms: Milliseconds of the cross-encoder for a pair.
    """
    views, lists = fitted.held_out, JudgedLists.from_queries([one.grades for one in queries])
    late, reads = UNSCORED in views, UNREAD in views
    chosen = {FUSION: (late * _ALL_CANDIDATES, reads * depth), UNREAD: (late * _ALL_CANDIDATES, 0), UNSCORED: (0, 0)}
    options = []
    for view, (late_depth, read) in chosen.items():
        if view in views:
            gain = per_query(lists, views[view])["ndcg@10"]
            options.append(TierOption(late_depth, read, bool(late_depth) * late_ms + read * pair_ms, gain))
    return options


def graded_plan(options: Sequence[TierOption], min_gain_per_ms: float) -> dict[str, dict[str, int]]:
    """Return the depths for every occasion: what pays for a query, with a history or without, and else none."""
    plan = choose_depths(options, [_QUERY] * len(options[0].gain), min_gain_per_ms)
    return plan | {"both": plan[_QUERY]}


def _sample(queries: Sequence[JudgedQuery], fold: npt.NDArray[np.int64], seed: int, *, held: bool) -> list[JudgedQuery]:
    """Return some queries of the first fold, or of the others."""
    places = np.flatnonzero((fold == 0) == held)
    chosen = np.random.default_rng(seed).permutation(places)[:_PROBE_QUERIES]
    return [queries[place] for place in np.sort(chosen).tolist()]


def tier_costs(context: BuildContext, catalogue: Catalogue, queries: Sequence[JudgedQuery]) -> tuple[float, float]:
    """Return the milliseconds of late interaction for a request and of the cross-encoder for a pair; 0 if missing."""
    depth = context.settings.cross_encoder_depth
    tiers = TierExamples(context.staging.release(), catalogue, context.features, depth)
    timed = [
        FeatureExample(one, np.empty((len(one.labels), 0), np.float32))
        for one in labelled_queries(queries[:_TIMED], catalogue)
    ]
    with context.report.step("Timing the text tiers") as step:
        tiers.time(timed, step)
    return tiers.late_ms, tiers.pair_ms


def labelled_queries(queries: Sequence[JudgedQuery], catalogue: Catalogue) -> list[LabelledCandidates]:
    """Return judged queries as requests; items of at least half the highest grade are relevant."""
    nobody = np.empty(0, np.int64)
    return [
        LabelledCandidates(
            ShopRequest((), one.query, frozenset(catalogue.item_ids[row] for row in one.rows[_relevant(one)])),
            UserRows(nobody, one.query),
            CandidateRows.from_rows(one.rows),
            _relevant(one).astype(np.float32),
        )
        for one in queries
    ]


def _relevant(query: JudgedQuery) -> npt.NDArray[np.bool_]:
    return query.grades >= _RELEVANT_GRADE
