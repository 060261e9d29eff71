"""MiniLM-L6 as a cross-encoder, fine-tuned on all training judgements as the recipe `searches` does it.

Trained models are cached by a hash of their inputs, and shared with the release of `offline-home-depot`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from benchmarks.data.home_depot import HomeDepot, QueryJudgements
from pipeline.build.search.search_models import SearchModels
from pipeline.learning.examples.judged_queries import JudgedQuery
from pipeline.learning.examples.judged_queries import training_queries as all_training_queries
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.catalogue import build_catalogue, item_texts
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEARCHES
from pipeline.release.export.cached_export import exported_cross_encoder
from pipeline.release.models.base_model import BaseModel, resolve_base_model
from pipeline.release.models.tokenizer import plain_tokenizer
from pipeline.release.models.vocabulary_trimming import kept_tokens, trim_model

CACHE: Final = Path(".cache/benchmarks")
MODELS: Final = CACHE / "models"
_SETTINGS: Final = BuildSettings.from_recipe(SEARCHES.name)


@dataclass(frozen=True)
class TrainedModel:
    """A cross-encoder on disk.

    Attributes:
        folder: The model in Hugging Face's format, with its tokenizer.
        base: The model that it was fine-tuned from.
    """

    folder: Path
    base: BaseModel

    @property
    def torch(self) -> Path:
        """The folder in Hugging Face's format."""
        return self.folder

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file."""
        return self.folder / "tokenizer.json"

    @property
    def onnx(self) -> Path:
        """The exported graph in float32; it is exported again if the exporting code has changed."""
        return exported_cross_encoder(self.folder)


def trained_model(data: HomeDepot, console: Console) -> TrainedModel:
    """Return the fine-tuned cross-encoder; it is trained (a quarter of an hour) unless cached."""
    models, queries = search_models(data, console)
    return TrainedModel(models.cross_encoder(queries), resolve_base_model(_SETTINGS.base_model))


def shallow_model(data: HomeDepot, layers: int, console: Console) -> TrainedModel:
    """Return a student of the cross-encoder with fewer layers; it is trained (a quarter of an hour) unless cached."""
    models, queries = search_models(data, console)
    return TrainedModel(models.student(queries, layers), resolve_base_model(_SETTINGS.base_model))


def trimmed_model(data: HomeDepot, model: TrainedModel) -> TrainedModel:
    """Return the model with a vocabulary trimmed to titles and training queries."""
    known = [*item_texts(data.dataset.items), *(one.query for one in data.judged("train"))]
    kept = kept_tokens(plain_tokenizer(str(model.tokenizer)), known)
    key = hashlib.sha256(repr(kept.kept).encode()).hexdigest()[:8]
    folder = model.folder.with_name(f"{model.folder.name}-trimmed-{key}")
    if not folder.exists():
        part = folder.with_suffix(".part")
        trim_model(model.folder, kept, part)
        part.rename(folder)
    return TrainedModel(folder, model.base)


def training_queries(data: HomeDepot) -> list[QueryJudgements]:
    """Return training queries with a relevant item and more than one item, in random order."""
    judged = [one for one in data.judged("train") if one.relevance.any() and len(one.item_ids) > 1]
    return [judged[place] for place in np.random.default_rng(0).permutation(len(judged))]


def search_models(data: HomeDepot, console: Console) -> tuple[SearchModels, list[JudgedQuery]]:
    """Return the trainer of the models, and all training queries."""
    base = resolve_base_model(_SETTINGS.base_model)
    tokenizer = plain_tokenizer(str(base.path / "tokenizer.json"))
    catalogue = build_catalogue(data.dataset.items, tokenizer, _SETTINGS.item_tokens)
    models = SearchModels(base, _SETTINGS, catalogue, ModelCache(MODELS, base.path), ProgressReport(console))
    return models, all_training_queries(data.dataset.judgements, catalogue)
