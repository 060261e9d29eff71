"""From a dataset to a published release, step by step, through the engines that will serve it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from transformers import BertModel

from common import layout
from common.catalogue import Catalogue
from common.errors import BadRelease, InvalidRequest
from common.onnx_session import SessionOptions
from common.release import CURRENT, DataCard, ModelCard, Release, open_release
from pipeline.base_model import BaseModel, resolve_base_model
from pipeline.build_settings import FEATURES, BuildSettings
from pipeline.catalogue import build_catalogue, plain_tokenizer
from pipeline.compress import compress
from pipeline.dataset import Dataset
from pipeline.export import export_cross_encoder, export_encoder
from pipeline.index import build_index
from pipeline.model_card import write_model_card
from pipeline.progress import ProgressReport
from pipeline.requests import People, ShopRequest, Windows, as_met, draw_people
from pipeline.staging import Staging, aside
from pipeline.train.behaviour import Purchases, popularity, transitions
from pipeline.train.candidates import Labelled, draw_candidates, learn_source_weights
from pipeline.train.cross_encoder import train_cross_encoder
from pipeline.train.fusion import calibrate, export_fusion, fit_behaviour, fit_logits
from pipeline.train.fusion_examples import FusionExamples, quality
from pipeline.train.pair_examples import training_lists
from services.ranking.pair_texts import PairTexts
from services.retrieval.encoder import Encoder
from services.retrieval.first_stage import FirstStage
from services.retrieval.hnsw_index import HnswOptions

# The first stage without learned weights is only asked for so many requests: enough to learn them.
_WEIGHT_REQUESTS: Final = 400
_ENCODER_TOKENS: Final = 128
_FORMAT: Final = 3  # raise it whenever the same data and settings make another release than before


def build(dataset: Dataset, store: Path, settings: BuildSettings, report: ProgressReport) -> Release:
    """Build a release and publish it in ``store``; the same data and settings built before are not built again.

    Raises:
        InvalidRequest: The events leave no room for the windows, or nobody to learn from.
        BadBaseModel: The base model cannot be found.
        ParityError: An exported model computes something else than the trained one.
        CompressionRefused: The int8 cross-encoder loses more than the settings allow.
    """
    base = resolve_base_model(settings.base_model)
    card = DataCard(
        source=dataset.report.source,
        fingerprint=dataset.fingerprint(),
        items=dataset.items.height,
        events=dataset.events.height,
        licence=dataset.report.licence,
    )
    key = _build_key(card, base, settings)
    known = _built_before(store, key)
    if known is not None:
        report.console.print(f"Release {known.id} was built from the same data with the same settings: reused")
        return known
    with aside(store) as folder:
        staging = Staging(folder, card, key, settings.as_json())
        _Build(dataset, base, settings, staging, report).run()
        staging.metrics["build_seconds"] = {step: round(seconds, 1) for step, seconds in report.seconds.items()}
        return staging.publish(store)


def catalogue_items(dataset: Dataset, windows: Windows, min_buyers: int) -> pl.DataFrame:
    """Return the items with enough buyers before anything that is to be foretold; raises InvalidRequest for none."""
    past = dataset.events.filter(pl.col("timestamp") < windows.tables)
    buyers = past.group_by("item_id").agg(pl.col("user_id").n_unique().alias("buyers"))
    bought = buyers.filter(pl.col("buyers") >= min_buyers)
    items = dataset.items.join(bought.select("item_id"), on="item_id", how="semi")
    if items.is_empty():
        raise InvalidRequest(f"no item has {min_buyers} buyers before {windows.tables:%Y-%m-%d}; lower min_buyers")
    return items


class _Build:
    """One build: each step writes its part of the release and leaves what the next ones need."""

    def __init__(
        self, dataset: Dataset, base: BaseModel, settings: BuildSettings, staging: Staging, report: ProgressReport
    ) -> None:
        self.dataset = dataset
        self.base = base
        self.settings = settings
        self.staging = staging
        self.report = report
        self.windows = Windows.of(dataset.events, settings.window_days)

    def run(self) -> None:
        """Take every step."""
        catalogue = self._write_catalogue()
        self._export_encoder()
        self._index(catalogue)
        self._count_behaviour(catalogue)
        people = self._draw_people(catalogue)
        self._learn_weights(people)
        train, valid = self._draw_candidates(people)
        self._train_cross_encoder(catalogue, train)
        if self.settings.precision == "int8":
            compress(self.staging, catalogue, train, valid, self.settings.max_ndcg_loss, self.report)
        self._fuse(catalogue, train, valid)

    def _write_catalogue(self) -> Catalogue:
        with self.report.step("Writing the catalogue"):
            items = catalogue_items(self.dataset, self.windows, self.settings.min_buyers)
            tokenizer = plain_tokenizer(str(self.base.path / "tokenizer.json"))
            tokenizer.save(str(self.staging.file(layout.CROSS_ENCODER_TOKENIZER)))
            catalogue = build_catalogue(items, tokenizer, self.settings.item_tokens)
            catalogue.save(self.staging.file(layout.CATALOGUE))
            tokenizer.enable_truncation(_ENCODER_TOKENS)
            tokenizer.save(str(self.staging.file(layout.ENCODER_TOKENIZER)))
            return catalogue

    def _export_encoder(self) -> None:
        with self.report.step("Exporting the encoder to ONNX"):
            worst = export_encoder(BertModel.from_pretrained(self.base.path), self.staging.file(layout.ENCODER))
            self.staging.models["encoder"] = self._card(layout.ENCODER, "nothing: the base model as it is", worst)

    def _index(self, catalogue: Catalogue) -> None:
        options = HnswOptions(
            m=self.settings.hnsw_m, ef_construction=self.settings.ef_construction, threads=1, seed=self.settings.seed
        )
        encoder = Encoder.load(self.staging.release(), SessionOptions())
        with self.report.step("Embedding the catalogue's texts") as step:
            build_index(catalogue, encoder, self.settings.item_prefix, self.staging.path, options, step)

    def _count_behaviour(self, catalogue: Catalogue) -> None:
        with self.report.step("Counting what follows what"):
            past = self.dataset.events.filter(pl.col("timestamp") < self.windows.tables)
            purchases = _purchases(past, catalogue)
            for name, graph in transitions(purchases, len(catalogue)).items():
                graph.save(self.staging.path, name)
            buyers = popularity(purchases, len(catalogue)).buyers
            np.save(self.staging.file(layout.POPULARITY), buyers)
        self._write_retrieval({})

    def _draw_people(self, catalogue: Catalogue) -> People:
        settings = self.settings
        with self.report.step("Drawing people to learn from"):
            people = draw_people(
                self.dataset.events,
                self.windows,
                train=settings.training_requests,
                valid=settings.valid_people,
                test=settings.test_people,
                seed=settings.seed,
            )
            if not people.train or not people.valid or not people.test:
                raise InvalidRequest("the events leave nobody to learn from; choose other windows")
            titles = dict(zip(catalogue.item_ids, catalogue.table["title"].to_pylist(), strict=True))
            searches, newcomers, seed = settings.query_share, settings.newcomer_share, settings.seed
            return dataclasses.replace(
                people,
                train=as_met(people.train, titles, searches=searches, newcomers=newcomers, seed=seed),
                valid=as_met(people.valid, titles, searches=searches, newcomers=newcomers, seed=seed + 1),
            )

    def _learn_weights(self, people: People) -> None:
        requests = people.train[:_WEIGHT_REQUESTS]
        with (
            self._first_stage() as first_stage,
            self.report.step("Learning the sources' weights", len(requests)) as step,
        ):
            drawn = draw_candidates(first_stage, requests, self.settings.candidates * 3, step)
            self._write_retrieval(learn_source_weights(drawn, first_stage.sources))

    def _draw_candidates(self, people: People) -> tuple[list[Labelled], list[Labelled]]:
        requests: Sequence[ShopRequest] = [*people.train, *people.valid]
        with self._first_stage() as first_stage, self.report.step("Finding candidates", len(requests)) as step:
            drawn = draw_candidates(first_stage, requests, self.settings.candidates, step)
        return drawn[: len(people.train)], drawn[len(people.train) :]

    def _train_cross_encoder(self, catalogue: Catalogue, train: Sequence[Labelled]) -> None:
        settings = self.settings
        self.staging.write_json(
            layout.RANKER_SETTINGS,
            {
                "context_items": settings.context_items,
                "context_tokens": settings.context_tokens,
                "item_tokens": settings.item_tokens,
                "depth": settings.read,
            },
        )
        texts = PairTexts.load(self.staging.release(), catalogue)
        # The requests at the end are kept for the fusion, whose logits must not come from what was trained on.
        learnable = train[: max(1, len(train) - settings.read_requests)]
        lists = training_lists(learnable, texts, lists=settings.lists, size=settings.list_size, seed=settings.seed)
        if not lists:
            raise InvalidRequest("the first stage found nothing that was bought: there is nothing to learn from")
        with self.report.step("Fine-tuning the cross-encoder") as step:
            # Named by the build, not by the process: after a kill, the same build goes on from its last checkpoint.
            work = self.staging.path.with_name(f".training-{self.staging.build_key[:12]}")
            model = train_cross_encoder(
                self.base.path, lists, settings.cross_encoder, work, lambda done, total, _: step.at(done, total)
            )
            shutil.rmtree(work)
        with self.report.step("Exporting the cross-encoder to ONNX"):
            worst = export_cross_encoder(model, self.staging.file(layout.CROSS_ENCODER))
            trained = f"{len(lists)} lists of what people bought before {self.windows.valid:%Y-%m-%d}"
            self.staging.models["cross_encoder"] = self._card(layout.CROSS_ENCODER, trained, worst)

    def _fuse(self, catalogue: Catalogue, train: Sequence[Labelled], valid: Sequence[Labelled]) -> None:
        settings = self.settings
        self.staging.write_json(layout.FUSION_SETTINGS, {"features": list(FEATURES)})
        examples = FusionExamples(self.staging.release(), catalogue, FEATURES, settings.read)
        with self.report.step("Reading pairs for the fusion") as step:
            behaviour = examples.without_logits(train)
            first = fit_behaviour(behaviour, FEATURES, settings.seed)
            read = examples.read(train[-settings.read_requests :], first, step)
            checked = examples.served(valid, first, step)
        if not checked.labels.any():
            raise InvalidRequest(
                "no validation person bought a candidate, so nothing can be calibrated; widen the windows"
            )
        with self.report.step("Fitting and calibrating the fusion"):
            fusion = calibrate(fit_logits(first, read, FEATURES, settings.seed), checked)
            worst = export_fusion(fusion, self.staging.file(layout.FUSION), checked.features)
            self.staging.metrics["validation"] = quality(valid, checked, fusion, FEATURES)
            trained = f"{len(train)} requests before {self.windows.valid:%Y-%m-%d}, calibrated on {len(valid)} others"
            self.staging.models["fusion"] = ModelCard(
                file=layout.FUSION,
                precision="fp32",
                base_model="LightGBM",
                base_model_origin="fitted here",
                trained_on=trained,
                parity_max_abs_error=worst,
            )
            write_model_card(self.staging, catalogue, valid, fusion.probability(checked.features))

    def _write_retrieval(self, weights: dict[str, dict[str, float]]) -> None:
        self.staging.write_json(
            layout.RETRIEVAL_SETTINGS,
            {
                "sources": {
                    "repeat": {"kind": "graph"},
                    "follow": {"kind": "graph"},
                    "popular": {"kind": "popular"},
                    "semantic": {"kind": "semantic"},
                    "similar": {"kind": "similar"},
                },
                "weights": weights,
                "decay": 0.5 ** (1 / self.settings.half_life),
                "query_prefix": self.settings.query_prefix,
                "item_prefix": self.settings.item_prefix,
            },
        )

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


def _purchases(events: pl.DataFrame, catalogue: Catalogue) -> Purchases:
    """Number people and sessions of the events, in the order of person and time; other items than ours left out."""
    rows = catalogue.rows_of(events["item_id"].to_list())
    session = pl.col("session_id") if "session_id" in events.columns else pl.int_range(pl.len())
    numbered = events.with_columns(pl.Series("row", rows), session.alias("session")).filter(pl.col("row") >= 0)
    numbered = numbered.sort("user_id", "timestamp", maintain_order=True)
    return Purchases(
        users=numbered["user_id"].rle_id().to_numpy().astype(np.int64),
        sessions=numbered.select(pl.struct("user_id", "session").rle_id())["user_id"].to_numpy().astype(np.int64),
        rows=numbered["row"].to_numpy().astype(np.int64),
    )


def _build_key(card: DataCard, base: BaseModel, settings: BuildSettings) -> str:
    """Return what tells one build from another: data, base model, settings, features, and the build's own format."""
    parts = [_FORMAT, card.model_dump(), base.sha256, settings.as_json(), FEATURES]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _built_before(store: Path, key: str) -> Release | None:
    """Return the store's current release where it is whole and of the same build."""
    if not (store / CURRENT).exists():
        return None
    try:
        release = open_release(str(store))
    except BadRelease:
        return None  # a damaged release is no reason not to build a sound one
    return release if release.manifest.build_key == key else None
