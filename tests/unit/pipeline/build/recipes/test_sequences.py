"""Building a release from sequences of which only the order is known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.item_graph import ItemGraph
from common.release.layout import CATALOGUE, FUSION_SETTINGS, RETRIEVAL_SETTINGS
from common.release.store import Release, open_release
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEQUENCES
from services.ranking.cascade.fusion_model import FusionModel
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.request import CandidateRows, UserRows
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request


@pytest.fixture(scope="module")
def sequences(tiny_dataset: Dataset) -> Dataset:
    """Return the tiny shop's purchases with nothing but their order."""
    order = pl.int_range(pl.len()).over("user_id").alias("position")
    last = tiny_dataset.events.sort("user_id", "timestamp").group_by("user_id", maintain_order=True).tail(12)
    events = last.select("user_id", "item_id", "event", order)
    return Dataset(tiny_dataset.items, events, None, tiny_dataset.report)


@pytest.fixture(scope="module")
def settings(tiny_settings: BuildSettings) -> BuildSettings:
    changes = {
        "candidates": 40,
        "cross_encoder_depth": 0,
        "history_half_life": 1.36,
        "trees": 5,
        "boosters": 2,
        "cross_encoder_lists": 8,
    }
    return dataclasses.replace(tiny_settings, recipe=SEQUENCES.name, **changes)


@pytest.fixture(scope="module")
def release(sequences: Dataset, settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory) -> Release:
    store = tmp_path_factory.mktemp("sequences")
    return build(sequences, store, settings, ProgressReport(Console(quiet=True)))


def test_release_lists_graphs_sources_features_and_half_lives(release: Release):
    """Everything that the recipe names is in the release's own files."""
    retrieval = json.loads(release.file(RETRIEVAL_SETTINGS).read_text())
    fusion = json.loads(release.file(FUSION_SETTINGS).read_text())
    assert retrieval["sources"] == {name: dict(source) for name, source in SEQUENCES.sources.items()}
    assert retrieval["weights"]["history"]
    assert fusion["features"] == list(SEQUENCES.features)
    assert fusion["half_life_short"] == SEQUENCES.half_life_short
    assert all(ItemGraph.from_release(release, name).items == len(_catalogue(release)) for name in SEQUENCES.graphs)


def test_serving_engines_rank_by_history(release: Release, sequences: Dataset):
    """First stage, features and fusion of the release answer a history with probabilities that differ."""
    history = sequences.events.filter(pl.col("user_id") == "u3")["item_id"].to_list()[-5:]
    first_stage = FirstStage.load(release)
    answer = first_stage.retrieve([Request(history_item_ids=history, limit=40)])[0]
    first_stage.close()
    catalogue = _catalogue(release)
    features = FeatureSet(SEQUENCES.features, ItemTables(release, catalogue))
    scores = dict(zip(answer.sources, answer.source_scores.T, strict=True))
    user = UserRows(catalogue.rows_of(history))
    matrix = features.matrix(user, CandidateRows(answer.rows, answer.scores.astype(np.float32), scores))
    probability = FusionModel.load(release, len(SEQUENCES.features)).probability(matrix)
    assert len(np.unique(probability)) > 1
    assert ((probability > 0) & (probability < 1)).all()


def test_validation_is_of_held_out_users(release: Release):
    """The manifest says what both stages reach on users whom the judged trees saw nothing of."""
    validation = open_release(str(release.path)).manifest.metrics["validation"]
    assert 0 < validation["fusion"]["hr@10"] <= 1
    assert 0 <= validation["first stage"]["ndcg@10"] <= 1


def test_a_fine_tuned_encoder_is_refused(sequences: Dataset, settings: BuildSettings, tmp_path: Path):
    """Without times there is no past to learn from that the fusion does not learn from too."""
    with pytest.raises(InvalidRequest, match="leave encoder_epochs at 0"):
        build(sequences, tmp_path, settings.with_encoder_epochs(1), ProgressReport(Console(quiet=True)))


def _catalogue(release: Release) -> Catalogue:
    return Catalogue.open(release.file(CATALOGUE))
