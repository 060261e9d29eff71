"""The recipe `searches`: encoder, cross-encoder and fusion from judged searches."""

from __future__ import annotations

from collections.abc import Sequence
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
from pipeline.build.context import BuildContext
from pipeline.build.search.search_examples import FUSION, HeldOut, graded_examples, held_out_cosines, hold_out
from pipeline.build.search.search_models import SearchModels
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
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.gate.questions import GateQuestions, questions_of_queries
from pipeline.learning.examples.fusion import calibration_error
from pipeline.learning.examples.judged_queries import (
    JudgedQuery,
    folds_of,
    hold_out_queries,
    test_queries,
    training_queries,
)
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.fusion.graded_trees import CrossFitted, GradedExamples, cross_fit_fusion
from pipeline.learning.fusion.trees import export_fusion
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.measurement.metrics.reranking import ALL_PAIRS, JudgedLists, per_query, spearman
from pipeline.release.export.bert import export_cross_encoder, export_encoder
from pipeline.release.models.model_folder import load_model
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.word_index import WordIndex
from services.ranking.request import CandidateRows, UserRows

_RELEVANT_GRADE: Final = 0.5
_DATA: Final = "judged searches, those of the split `test` left out"


def build_searches(context: BuildContext) -> Learned:
    """Build a release from judged searches; events are not used.

    Raises:
        InvalidRequest: There are too few judgements, or the settings ask for a compressed cross-encoder.
    """
    settings = context.settings
    refuse_compression(context)
    catalogue = write_catalogue(context, context.dataset.items)
    queries = training_queries(context.dataset.judgements, catalogue)
    if len(queries) < settings.folds:
        raise InvalidRequest(f"{len(queries)} judged queries can't be parted in {settings.folds} folds")
    if not test_queries(context.dataset.judgements, catalogue):
        queries, _ = hold_out_queries(queries, settings.test_users)
    learned = learn_from_queries(context, catalogue, queries, _DATA)
    return replace(learned, questions=questions_held_out(context, catalogue))


def questions_held_out(context: BuildContext, catalogue: Catalogue) -> GateQuestions:
    """Return the judged queries that nothing is learned from: the split `test`, or a tenth if there is none."""
    judgements = context.dataset.judgements
    held_out = test_queries(judgements, catalogue)
    if not held_out:
        _, held_out = hold_out_queries(training_queries(judgements, catalogue), context.settings.test_users)
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
    settings, learned_from = context.settings, f"{len(queries)} {data}"
    _write_words(context, catalogue)
    models = _open_models(context, catalogue)
    fold = folds_of(queries, settings.folds, settings.seed)
    held_out = _hold_out(context, models, queries, fold, catalogue)
    _export_models(context, models.encoder(queries), models.cross_encoder(queries), learned_from)
    write_index(context, catalogue)
    write_retrieval_settings(context, {})
    write_ranker_settings(context, {})
    if settings.late_bits:
        write_late_tier(context, models.loaded_tower(models.tower(queries)), learned_from)
    write_fusion_settings(context)
    examples = _make_examples(context, catalogue, queries, held_out, fold)
    fitted = _fit_fusion(context, examples, learned_from)
    _measure(context, queries, held_out, fitted)
    return Learned(catalogue, _labelled(queries, catalogue), fitted.held_out[FUSION])


def refuse_compression(context: BuildContext) -> None:
    """Raise InvalidRequest if the settings ask for a compressed cross-encoder."""
    if context.settings.compressed:
        raise InvalidRequest(
            f"the recipe {context.recipe.name} can't check a compressed cross-encoder yet: leave precision at fp32, "
            "the vocabulary whole, and ask for no student"
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


def _hold_out(
    context: BuildContext,
    models: SearchModels,
    queries: Sequence[JudgedQuery],
    fold: npt.NDArray[np.int64],
    catalogue: Catalogue,
) -> HeldOut:
    """Train models fold by fold, and return their scores of queries that they have not seen."""
    prefixes = (context.settings.query_prefix, context.settings.item_prefix)

    def cosines(model: Path, held: Sequence[JudgedQuery]) -> Float32Array:
        with context.report.step("Comparing embeddings of held-out queries"):
            return held_out_cosines(model, held, catalogue, prefixes)

    return hold_out(models, queries, fold, cosines, late=bool(context.settings.late_bits))


def _export_models(context: BuildContext, encoder: Path, cross_encoder: Path, trained_on: str) -> None:
    staging = context.staging
    with context.report.step("Exporting encoder and cross-encoder to ONNX"):
        encoder_error = export_encoder(load_model(BertModel, encoder), staging.file(layout.ENCODER))
        encoder_trained_on = trained_on if context.settings.encoder.epochs else NOT_TRAINED
        record_model(context, "encoder", layout.ENCODER, encoder_trained_on, encoder_error)
        model = load_model(BertForSequenceClassification, cross_encoder)
        cross_encoder_error = export_cross_encoder(model, staging.file(layout.CROSS_ENCODER))
        record_model(context, "cross_encoder", layout.CROSS_ENCODER, trained_on, cross_encoder_error)


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
        "cross-encoder": held_out.logits,
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


def _labelled(queries: Sequence[JudgedQuery], catalogue: Catalogue) -> list[LabelledCandidates]:
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
