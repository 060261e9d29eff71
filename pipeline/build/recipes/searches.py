"""The recipe `searches`: encoder, cross-encoder and fusion from judged searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from transformers import BertForSequenceClassification, BertModel

from common.arrays import Float32Array
from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.completion.learned import Learned
from pipeline.build.compression.compress import try_int8
from pipeline.build.compression.gate import Gate
from pipeline.build.context import BuildContext
from pipeline.build.search.graded_tiers import (
    graded_options,
    graded_plan,
    labelled_queries,
    short_training_gains,
    tier_costs,
)
from pipeline.build.search.search_examples import FUSION, HeldOut, graded_examples, held_out_cosines, hold_out
from pipeline.build.search.search_models import SearchModels
from pipeline.build.second_stage.text_tiers import NO_GAIN, drop_tier, unused_staged_tiers, write_plan
from pipeline.build.steps.catalogue import write_catalogue
from pipeline.build.steps.encoder import NOT_TRAINED, write_index
from pipeline.build.steps.first_stage import write_retrieval_settings
from pipeline.build.steps.late_interaction import write_late_tier
from pipeline.build.steps.staged_release import (
    record_fusion,
    record_model,
    write_array,
    write_fusion_settings,
    write_ranker_settings,
)
from pipeline.gate.questions import GateQuestions, questions_of_queries
from pipeline.learning.examples.fusion import calibration_error
from pipeline.learning.examples.judged_queries import (
    JudgedQuery,
    folds_of,
    learn_and_hold_out,
    training_queries,
)
from pipeline.learning.fusion.graded_trees import CrossFitted, GradedExamples, cross_fit_fusion
from pipeline.learning.fusion.trees import export_fusion
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.measurement.metrics.reranking import ALL_PAIRS, JudgedLists, per_query, spearman
from pipeline.release.export.bert import export_cross_encoder, export_encoder
from pipeline.release.models.model_folder import load_model
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.word_index import WordIndex

# Queries that int8 is judged on and calibrated with.
_JUDGED: Final = 200
_DATA: Final = "judged searches, those of the split `test` left out"


def build_searches(context: BuildContext) -> Learned:
    """Build a release from judged searches; events are not used.

    Raises:
        InvalidRequest: There are too few judgements, or the settings ask for what the recipe cannot check.
        CompressionRefused: int8 is asked for and loses more than the settings allow.
    """
    settings = context.settings
    refuse_unchecked(context)
    catalogue = write_catalogue(context, context.dataset.items)
    queries = training_queries(context.dataset.judgements, catalogue)
    if len(queries) < settings.folds:
        raise InvalidRequest(f"{len(queries)} judged queries can't be parted in {settings.folds} folds")
    queries, _ = learn_and_hold_out(context.dataset.judgements, catalogue, settings.test_users)
    learned = learn_from_queries(context, catalogue, queries, _DATA)
    return replace(learned, questions=questions_held_out(context, catalogue))


def questions_held_out(context: BuildContext, catalogue: Catalogue) -> GateQuestions:
    """Return the judged queries that nothing is learned from: the split `test`, or a tenth if there is none."""
    _, held_out = learn_and_hold_out(context.dataset.judgements, catalogue, context.settings.test_users)
    return questions_of_queries(held_out, catalogue, "judged searches held out")


def learn_from_queries(
    context: BuildContext, catalogue: Catalogue, queries: Sequence[JudgedQuery], data: str
) -> Learned:
    """Train the models and write the release files other than catalogue and model card.

    Args:
        context: The build.
        catalogue: The items.
        queries: What is learned from, one for each fold at least.
        data: What the queries are, for the model card.
    """
    learned_from = f"{len(queries)} {data}"
    _write_words(context, catalogue)
    models = _open_models(context, catalogue)
    fold = folds_of(queries, context.settings.folds, context.settings.seed)
    reads = _reads(context, models, queries, fold, catalogue)
    late = reads and bool(context.settings.late_bits)
    held_out = hold_out(models, queries, fold, _cosines(context, catalogue), reads=reads, late=late)
    _export_encoder(context, models.encoder(queries), learned_from)
    write_index(context, catalogue)
    write_retrieval_settings(context, {})
    write_ranker_settings(context, {})
    if reads:
        _export_cross_encoder(context, models, queries, fold, catalogue, learned_from)
    if late:
        write_late_tier(context, models.loaded_tower(models.tower(queries)), learned_from)
    held_out, fitted = _fit_planned(context, catalogue, queries, held_out, fold, learned_from)
    write_fusion_settings(context)
    _measure(context, queries, held_out, fitted)
    return Learned(catalogue, labelled_queries(queries, catalogue), fitted.held_out[FUSION])


def refuse_unchecked(context: BuildContext) -> None:
    """Raise InvalidRequest if the settings ask for what the recipe cannot check, or for late interaction alone."""
    settings, name = context.settings, context.recipe.name
    if settings.student_layers or settings.trim_vocabulary:
        raise InvalidRequest(
            f"the recipe {name} can't check a smaller cross-encoder: leave the vocabulary whole, and ask for no student"
        )
    if settings.late_bits and not settings.cross_encoder_depth:
        raise InvalidRequest(
            f"late_bits: in the recipe {name} the cross-encoder teaches late interaction; give a cross_encoder_depth"
        )


def _write_words(context: BuildContext, catalogue: Catalogue) -> None:
    """Write the word index of the lexical features, and a popularity of 0: there are no purchases to count."""
    with context.report.step("Indexing the catalogue's words"):
        WordIndex.from_texts(catalogue.table["text"].to_pylist()).save(context.staging.path)
        write_array(context.staging, layout.POPULARITY, np.zeros(len(catalogue), np.float32))


def _open_models(context: BuildContext, catalogue: Catalogue) -> SearchModels:
    base = context.base_model
    cache = ModelCache(context.models_dir or context.staging.checkpoints, base.path)
    return SearchModels(base, context.settings, catalogue, cache, context.report)


def _reads(
    context: BuildContext,
    models: SearchModels,
    queries: Sequence[JudgedQuery],
    fold: npt.NDArray[np.int64],
    catalogue: Catalogue,
) -> bool:
    """Return whether the cross-encoder is worth training."""
    settings = context.settings
    if not settings.cross_encoder_depth or settings.tiers == "always":
        return bool(settings.cross_encoder_depth)
    return short_training_gains(context, models, queries, fold, _cosines(context, catalogue))


def _cosines(context: BuildContext, catalogue: Catalogue) -> Callable[[Path, Sequence[JudgedQuery]], Float32Array]:
    """Return what compares queries with their items by an encoder."""
    prefixes = (context.settings.query_prefix, context.settings.item_prefix)

    def cosines(model: Path, held: Sequence[JudgedQuery]) -> Float32Array:
        with context.report.step("Comparing embeddings of held-out queries"):
            return held_out_cosines(model, held, catalogue, prefixes)

    return cosines


def _export_encoder(context: BuildContext, encoder: Path, trained_on: str) -> None:
    with context.report.step("Exporting the encoder to ONNX"):
        parity_error = export_encoder(load_model(BertModel, encoder), context.staging.file(layout.ENCODER))
        what = trained_on if context.settings.encoder.epochs else NOT_TRAINED
        record_model(context, "encoder", layout.ENCODER, what, parity_error)


def _export_cross_encoder(
    context: BuildContext,
    models: SearchModels,
    queries: Sequence[JudgedQuery],
    fold: npt.NDArray[np.int64],
    catalogue: Catalogue,
    trained_on: str,
) -> None:
    """Export the cross-encoder, in int8 if the settings allow it and a fold's model loses nothing by it.

    The released model has seen every query. So a fold's model is judged first, on queries that it has not seen.
    """
    held, others = (
        [queries[place] for place in np.flatnonzero((fold == 0) == which).tolist()] for which in (True, False)
    )
    gate = Gate(
        context.staging, labelled_queries(held[:_JUDGED], catalogue), context.settings.max_ndcg_loss, context.report
    )
    calibration = labelled_queries(others[:_JUDGED], catalogue)
    good = context.settings.precision != "fp32"
    if good:
        _stage_cross_encoder(context, models.cross_encoder(others), trained_on)
        good = try_int8(context, catalogue, calibration, gate)
    _stage_cross_encoder(context, models.cross_encoder(queries), trained_on)
    if good:
        try_int8(context, catalogue, calibration, gate)


def _stage_cross_encoder(context: BuildContext, folder: Path, trained_on: str) -> None:
    with context.report.step("Exporting the cross-encoder to ONNX"):
        model = load_model(BertForSequenceClassification, folder)
        context.staging.remove(layout.CROSS_ENCODER)
        parity_error = export_cross_encoder(model, context.staging.file(layout.CROSS_ENCODER))
        record_model(context, "cross_encoder", layout.CROSS_ENCODER, trained_on, parity_error)


def _fit_planned(
    context: BuildContext,
    catalogue: Catalogue,
    queries: Sequence[JudgedQuery],
    held_out: HeldOut,
    fold: npt.NDArray[np.int64],
    learned_from: str,
) -> tuple[HeldOut, CrossFitted]:
    """Fit the fusion, drop the tiers that it does not gain by, and write the plan; returns what is left."""
    settings = context.settings
    late_ms, pair_ms = tier_costs(context, catalogue, queries)
    while True:
        fitted = _fit_fusion(context, _make_examples(context, catalogue, queries, held_out, fold), learned_from)
        options = graded_options(fitted, queries, settings.cross_encoder_depth, late_ms, pair_ms)
        plan = graded_plan(options, settings.min_gain_per_ms)
        unused = unused_staged_tiers(context, plan)
        if not unused:
            write_plan(context, plan, options, ["query"] * len(options[0].gain))
            return held_out, fitted
        for tier in unused:
            drop_tier(context, tier, NO_GAIN)
            held_out = held_out.without(tier)


def _make_examples(
    context: BuildContext,
    catalogue: Catalogue,
    queries: Sequence[JudgedQuery],
    held_out: HeldOut,
    fold: npt.NDArray[np.int64],
) -> GradedExamples:
    with context.report.step("Computing lexical features", len(queries)) as step:
        features = FeatureSet(context.features, ItemTables(context.staging.release(), catalogue))
        return graded_examples(features, queries, held_out, fold, step)


def _fit_fusion(context: BuildContext, examples: GradedExamples, learned_from: str) -> CrossFitted:
    settings = context.settings
    seeds = range(settings.seed, settings.seed + settings.boosters)
    with context.report.step("Fitting and calibrating the fusion") as step:
        fitted = cross_fit_fusion(examples, context.features, seeds=seeds, trees=settings.trees, step=step)
        file = context.staging.file(layout.FUSION)
        parity_error = export_fusion(fitted.fusion, file, examples.views[FUSION])
    record_fusion(context, learned_from, parity_error)
    return fitted


def _measure(context: BuildContext, queries: Sequence[JudgedQuery], held_out: HeldOut, fitted: CrossFitted) -> None:
    """Record what the models of the folds reach on the queries that they have not seen."""
    lists = JudgedLists.from_queries([one.grades for one in queries])
    systems: dict[str, npt.NDArray[np.floating[Any]]] = {
        "encoder": held_out.cosines,
        **({} if held_out.logits is None else {"cross-encoder": held_out.logits}),
        **({} if held_out.late is None else {"late interaction": held_out.late}),
        **fitted.held_out,
    }
    measured = {
        name: {measure: float(values.mean()) for measure, values in per_query(lists, scores).items() if len(values)}
        | {ALL_PAIRS: spearman(scores, lists.grades)}
        for name, scores in systems.items()
    }
    error = calibration_error(fitted.held_out[FUSION], lists.grades.astype(np.float32))
    context.staging.metrics["validation"] = measured | {"calibration": {"expected calibration error": error}}
