"""What every build of a release does, whatever the recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from transformers import BertForSequenceClassification, BertModel

from common.errors import InvalidRequest
from common.onnx_session import SessionOptions
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import ModelCard
from pipeline.build.purchase_encoder import fit_purchase_encoder
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import Windows
from pipeline.learning.examples.labelled_candidates import Labelled
from pipeline.learning.examples.purchases import draw_purchases
from pipeline.learning.examples.text_pairs import training_lists
from pipeline.learning.training.cross_encoder import learning_curve, train_cross_encoder
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.catalogue import build_catalogue, item_texts
from pipeline.release.artifacts.staging import Staging
from pipeline.release.artifacts.title_bm25 import write_title_words
from pipeline.release.artifacts.vector_index import build_vector_index
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipe import Recipe
from pipeline.release.export.bert import export_cross_encoder, export_encoder
from pipeline.release.export.late_interaction import export_late_tower, write_late_interaction
from pipeline.release.models.base_model import BaseModel
from pipeline.release.models.late_interaction_tower import LateTowerGraph
from pipeline.release.models.tokenizer import plain_tokenizer
from pipeline.release.models.vocabulary_trimming import TOKENIZER, trimmed_base
from services.ranking.late_interaction.vector_codec import Bits
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.encoding.text_encoder import OnnxTextEncoder

_ENCODER_TOKENS: Final = 128


_WATCHED_LISTS: Final = 48


_UNTRAINED: Final = "nothing: the base model as it is"


class BuildSteps(ABC):
    """One build: each step writes its part of the release and leaves what the next ones need.

    Attributes:
        dataset: The shop's data.
        base: The base model, its vocabulary trimmed where the settings say so.
        whole_base: The base model as it was given.
        settings: How to build.
        staging: The release as far as it is built.
        report: Told of each step.
        recipe: What the release is made of.
        examples_to: Where to write the examples that the fusion learns from, None for nowhere.
        models_in: Where trained models are kept for other builds, None for nowhere.
    """

    def __init__(
        self, dataset: Dataset, base: BaseModel, settings: BuildSettings, staging: Staging, report: ProgressReport
    ) -> None:
        self.dataset = dataset
        self.base = self.whole_base = base
        self.settings = settings
        self.staging = staging
        self.report = report
        self.recipe: Recipe = settings.made_of()
        self.examples_to: Path | None = None
        self.models_in: Path | None = None

    @abstractmethod
    def run(self) -> None:
        """Take every step."""

    @property
    @abstractmethod
    def learnt_from(self) -> str:
        """What the models are trained on, for their cards."""

    @abstractmethod
    def _items(self) -> pl.DataFrame:
        """Return the items of the catalogue."""

    def _refuse_no_events(self) -> None:
        """Raise InvalidRequest where nobody ever did anything, before time is spent on what can't be finished."""
        if self.dataset.events.is_empty():
            raise InvalidRequest(
                f"there are no events, and the recipe {self.recipe.name} learns from what users took; "
                "give events, with one row at least"
            )

    def _write_catalogue(self) -> Catalogue:
        with self.report.step("Writing the catalogue"):
            items = self._items()
            if self.settings.trimmed_vocabulary:
                known = [self.settings.query_prefix, self.settings.item_prefix, *item_texts(items)]
                self.base = trimmed_base(self.whole_base, known, self.staging.path.with_name("base-model"))
            tokenizer = plain_tokenizer(str(self.base.path / TOKENIZER))
            tokenizer.save(str(self.staging.file(layout.CROSS_ENCODER_TOKENIZER)))
            catalogue = build_catalogue(items, tokenizer, self.settings.item_tokens)
            catalogue.save(self.staging.file(layout.CATALOGUE))
            if any(source.get("kind") == "lexical" for source in self.recipe.sources.values()):
                write_title_words(catalogue, self.staging.path)
            tokenizer.enable_truncation(_ENCODER_TOKENS)
            tokenizer.save(str(self.staging.file(layout.ENCODER_TOKENIZER)))
            return catalogue

    def _export_encoder(self, trained: BertModel | None = None, trained_on: str = _UNTRAINED) -> None:
        with self.report.step("Exporting the encoder to ONNX"):
            bert = BertModel.from_pretrained(self.base.path) if trained is None else trained
            worst = export_encoder(bert, self.staging.file(layout.ENCODER))
            self.staging.models["encoder"] = self._card(layout.ENCODER, trained_on, worst)

    def _train_encoder(self, catalogue: Catalogue, windows: Windows) -> None:
        """Fine-tune the encoder on what users took before the tables end, and embed the catalogue anew.

        Leaves it as it is where the settings ask for no epochs.

        Raises:
            InvalidRequest: Nobody took anything in those windows.
        """
        settings = self.settings
        if not settings.encoder.epochs:
            return
        with self.report.step("Drawing purchases for the encoder"):
            purchases = draw_purchases(
                self.dataset.events,
                dict(zip(catalogue.item_ids, catalogue.table["title"].to_pylist(), strict=True)),
                until=windows.tables,
                window=windows.length,
                count=settings.training_requests,
                searches=settings.query_share,
                seed=settings.seed,
            )
        if not purchases:
            raise InvalidRequest(
                f"nobody took anything before {windows.tables:%Y-%m-%d} for the encoder to learn from; leave "
                "encoder_epochs at 0 or choose shorter windows"
            )
        # A first stage of texts alone: what counted events would know of the weeks that are learned from.
        self._write_array(layout.POPULARITY, np.zeros(len(catalogue), np.float32))
        self._write_retrieval({}, {"semantic": {}, "similar": {}})
        bert = fit_purchase_encoder(purchases, catalogue, self.base, settings, self.staging, self.report)
        self._export_encoder(bert, f"{len(purchases):,} purchases before {windows.tables:%Y-%m-%d}")
        self._index(catalogue)

    def _index(self, catalogue: Catalogue) -> None:
        options = IndexOptions(
            m=self.settings.hnsw_m,
            ef_construction=self.settings.ef_construction,
            threads=1,
            seed=self.settings.seed,
            kind=self.settings.index,
        )
        encoder = OnnxTextEncoder.load(self.staging.release(), SessionOptions())
        with self.report.step("Embedding the catalogue's texts") as step:
            build_vector_index(
                catalogue, encoder, self.settings.item_prefix, self.staging.path, options, step, self.report.warn
            )

    def _train_cross_encoder(
        self, catalogue: Catalogue, train: Sequence[Labelled], valid: Sequence[Labelled]
    ) -> BertForSequenceClassification:
        """Fine-tune it on the lists of ``train``, watched on those of ``valid``, and export it."""
        settings, work = self.settings, self.staging.checkpoints
        self._write_ranker_settings({})
        texts = PairTokenizer.load(self.staging.release(), catalogue)
        learnable = self._learnable(train)
        lists, watched = (
            training_lists(drawn, texts, lists=lists, size=settings.list_size, seed=settings.seed)
            for drawn, lists in ((learnable, settings.lists), (valid, _WATCHED_LISTS))
        )
        with self.report.step("Fine-tuning the cross-encoder") as step:
            model = train_cross_encoder(
                self.base.path,
                lists,
                settings.cross_encoder,
                work,
                lambda done, total, _: step.at(done, total),
                valid=watched,
            )
            self.staging.metrics["training"] = {"cross_encoder": learning_curve(work).model_dump()}
        with self.report.step("Exporting the cross-encoder to ONNX"):
            worst = export_cross_encoder(model, self.staging.file(layout.CROSS_ENCODER))
            trained = f"{len(learnable)} lists of {self.learnt_from}"
            self.staging.models["cross_encoder"] = self._card(layout.CROSS_ENCODER, trained, worst)
        return model

    def _learnable(self, train: Sequence[Labelled]) -> list[Labelled]:
        """Return the requests that the cross-encoder learns from; raises InvalidRequest where there are none."""
        first = self._before_the_fusion(train)
        learnable = [example for example in first if example.labels.any()][: self.settings.lists]
        if not learnable:
            raise InvalidRequest("the first stage found nothing that was bought: there is nothing to learn from")
        return learnable

    def _before_the_fusion(self, train: Sequence[Labelled]) -> Sequence[Labelled]:
        """Leave out the requests at the end, kept for the fusion: it must not read what was said of trained lists."""
        return train[: max(1, len(train) - self.settings.read_requests)]

    def _write_array(self, name: str, values: npt.NDArray[np.floating[Any]]) -> None:
        file = self.staging.file(name)
        file.unlink(missing_ok=True)  # it may be mapped
        np.save(file, values)

    def _write_retrieval(
        self, weights: dict[str, dict[str, float]], sources: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.staging.write_json(
            layout.RETRIEVAL_SETTINGS,
            {
                "sources": self.recipe.sources if sources is None else sources,
                "weights": weights,
                "decay": 0.5 ** (1 / self.settings.half_life),
                "query_prefix": self.settings.query_prefix,
                "item_prefix": self.settings.item_prefix,
            },
        )

    def _write_fusion_settings(self) -> None:
        self.staging.write_json(
            layout.FUSION_SETTINGS,
            {
                "features": list(self.features),
                "half_life_long": self.recipe.half_life_long,
                "half_life_short": self.recipe.half_life_short,
            },
        )

    @property
    def features(self) -> tuple[str, ...]:
        """What the fusion reads."""
        return (*self.recipe.features, *(self.recipe.late_features if self.settings.late_bits else ()))

    def _write_ranker_settings(self, plan: Mapping[str, Mapping[str, int]]) -> None:
        settings = self.settings
        self.staging.write_json(
            layout.RANKER_SETTINGS,
            {
                "context_items": settings.context_items,
                "context_tokens": settings.context_tokens,
                "item_tokens": settings.item_tokens,
                "depth": settings.read,
                "plan": plan,
            },
        )

    def _write_late_interaction(self, graph: LateTowerGraph, bits: Bits, trained_on: str) -> None:
        """Export a tower and encode every item by it."""
        worst = export_late_tower(graph, self.staging.file(layout.LATE_TOWER))
        self.staging.models["late_interaction"] = self._card(layout.LATE_TOWER, trained_on, worst)
        with self.report.step("Encoding the items for late interaction") as step:
            write_late_interaction(self.staging, bits, step)

    def _first_stage(self) -> closing[FirstStage]:
        return closing(FirstStage.load(self.staging.release()))

    def _card(self, file: str, trained_on: str, worst: float) -> ModelCard:
        return ModelCard(
            file=file,
            precision="fp32",
            base_model=self.base.name,
            base_model_origin=f"{self.base.origin}, sha256 {self.base.sha256}",
            trained_on=trained_on,
            parity_max_abs_error=worst,
        )

    def _fusion_card(self, trained_on: str, worst: float) -> ModelCard:
        return ModelCard(
            file=layout.FUSION,
            precision="fp32",
            base_model="LightGBM",
            base_model_origin="fitted here",
            trained_on=trained_on,
            parity_max_abs_error=worst,
        )
