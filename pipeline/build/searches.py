"""The build of the recipe `searches`: encoder, cross-encoder and fusion from judged searches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from transformers import BertForSequenceClassification, BertModel

from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.build_steps import BuildSteps
from pipeline.build.model_card import write_model_card
from pipeline.build.search_examples import FUSION, HeldOut, graded_examples, held_out_cosines, hold_out
from pipeline.build.search_models import SearchModels
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.fusion import calibration_error
from pipeline.learning.examples.judged_queries import JudgedQuery, folds_of, training_queries
from pipeline.learning.examples.labelled_candidates import Labelled
from pipeline.learning.fusion.graded_trees import CrossFitted, GradedExamples, cross_fit_fusion
from pipeline.learning.fusion.trees import export_fusion
from pipeline.learning.training.model_cache import ModelCache
from pipeline.measurement.metrics.reranking import ALL_PAIRS, JudgedLists, per_query, spearman
from pipeline.release.export.bert import export_cross_encoder, export_encoder
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.word_index import WordIndex
from services.ranking.request import CandidateRows, UserRows

_HALF: Final = 0.5


class SearchBuild(BuildSteps):
    """Builds a release from judged searches; what was bought has no part in it."""

    def run(self) -> None:
        """Take every step.

        Raises:
            InvalidRequest: There are too few judgements to learn from, or a compressed cross-encoder is asked for.
        """
        if self.settings.compressed:
            raise InvalidRequest(
                f"the recipe {self.recipe.name} can't check a compressed cross-encoder yet: leave precision at fp32, "
                "the vocabulary whole, and ask for no student"
            )
        catalogue = self._write_catalogue()
        self._write_words(catalogue)
        queries = training_queries(self.dataset.judgements, catalogue)
        if len(queries) < self.settings.folds:
            raise InvalidRequest(f"{len(queries)} judged queries can't be parted in {self.settings.folds} folds")
        models = self._models(catalogue)
        fold = folds_of(queries, self.settings.folds, self.settings.seed)
        held = self._hold_out(models, queries, fold, catalogue)
        self._export(models.encoder(queries), models.cross_encoder(queries), len(queries))
        self._index(catalogue)
        self._write_retrieval({})
        self._write_ranker_settings({})
        if self.settings.late_bits:
            graph = models.loaded_tower(models.tower(queries))
            self._write_late_interaction(graph, self.settings.late_bits, f"{len(queries)} {self.learnt_from}")
        self._write_fusion_settings()
        with self.report.step("Comparing words", len(queries)) as step:
            features = FeatureSet(self.features, ItemTables(self.staging.release(), catalogue))
            examples = graded_examples(features, queries, held, fold, step)
        fitted = self._fuse(queries, examples)
        self._measure(queries, held, fitted)
        write_model_card(self.staging, catalogue, _labelled(queries, catalogue), fitted.held_out[FUSION])

    @property
    def learnt_from(self) -> str:
        """What the models are trained on, for their cards."""
        return "judged searches, those of the split `test` left out"

    def _items(self) -> pl.DataFrame:
        return self.dataset.items

    def _write_words(self, catalogue: Catalogue) -> None:
        with self.report.step("Reading the catalogue's words"):
            WordIndex.of(catalogue.table["text"].to_pylist()).save(self.staging.path)
            # Nobody bought anything: what is popular is not known.
            np.save(self.staging.file(layout.POPULARITY), np.zeros(len(catalogue), np.float32))

    def _models(self, catalogue: Catalogue) -> SearchModels:
        folder = self.models_in or self.staging.checkpoints
        return SearchModels(self.base, self.settings, catalogue, ModelCache(folder, self.base.path), self.report)

    def _hold_out(
        self,
        models: SearchModels,
        queries: Sequence[JudgedQuery],
        fold: npt.NDArray[np.int64],
        catalogue: Catalogue,
    ) -> HeldOut:
        prefixes = (self.settings.query_prefix, self.settings.item_prefix)

        def cosines(model: Path, held: Sequence[JudgedQuery]) -> npt.NDArray[np.float32]:
            with self.report.step("Comparing embeddings of held-out queries"):
                return held_out_cosines(model, held, catalogue, prefixes)

        return hold_out(models, queries, fold, cosines, late=bool(self.settings.late_bits))

    def _export(self, encoder: Path, cross_encoder: Path, queries: int) -> None:
        with self.report.step("Exporting encoder and cross-encoder to ONNX"):
            worst = export_encoder(BertModel.from_pretrained(encoder), self.staging.file(layout.ENCODER))
            trained = f"{queries} {self.learnt_from}"
            said = trained if self.settings.encoder.epochs else "nothing: the base model as it is"
            self.staging.models["encoder"] = self._card(layout.ENCODER, said, worst)
            model = BertForSequenceClassification.from_pretrained(cross_encoder)
            worst = export_cross_encoder(model, self.staging.file(layout.CROSS_ENCODER))
            self.staging.models["cross_encoder"] = self._card(layout.CROSS_ENCODER, trained, worst)

    def _fuse(self, queries: Sequence[JudgedQuery], examples: GradedExamples) -> CrossFitted:
        seeds = range(self.settings.seed, self.settings.seed + self.settings.bag)
        with self.report.step("Fitting and calibrating the fusion") as step:
            fitted = cross_fit_fusion(examples, self.features, seeds=seeds, trees=self.settings.trees, step=step)
            worst = export_fusion(fitted.fusion, self.staging.file(layout.FUSION), examples.views[FUSION])
        self.staging.models["fusion"] = self._fusion_card(f"{len(queries)} {self.learnt_from}", worst)
        return fitted

    def _measure(self, queries: Sequence[JudgedQuery], held: HeldOut, fitted: CrossFitted) -> None:
        """Write down what models that had not seen the queries reached on them."""
        lists = JudgedLists.of([one.grades for one in queries])
        systems: dict[str, npt.NDArray[np.floating[Any]]] = {
            "encoder": held.cosines,
            "cross-encoder": held.logits,
            **({} if held.late is None else {"late interaction": held.late}),
            **fitted.held_out,
        }
        measured = {
            name: {measure: float(values.mean()) for measure, values in per_query(lists, scores).items()}
            | {ALL_PAIRS: spearman(scores, lists.grades)}
            for name, scores in systems.items()
        }
        error = calibration_error(fitted.held_out[FUSION], lists.grades.astype(np.float32))
        self.staging.metrics["validation"] = measured | {"calibration": {"expected calibration error": error}}


def _labelled(queries: Sequence[JudgedQuery], catalogue: Catalogue) -> list[Labelled]:
    """Return judged queries as requests whose items of at least half the highest grade were wanted."""
    nobody = np.empty(0, np.int64)
    return [
        Labelled(
            ShopRequest((), one.query, frozenset(catalogue.item_ids[row] for row in one.rows[one.grades >= _HALF])),
            UserRows(nobody, one.query),
            CandidateRows.from_rows(one.rows),
            (one.grades >= _HALF).astype(np.float32),
        )
        for one in queries
    ]
