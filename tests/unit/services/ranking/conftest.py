"""Pairs, clocks and models for the batcher's tests; a small release for those of the second stage."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import polars as pl
import pytest
import torch
from onnx import TensorProto, helper
from transformers import BertForSequenceClassification

from common.arrays import Int64Array
from common.ragged import TokenRows
from common.release import layout
from common.release.item_graph import ItemGraph
from common.release.manifest import DataCard, Manifest, ModelCard, compute_release_id, describe_files
from common.release.store import Release, publish
from pipeline.learning.trainers.late_interaction import new_tower
from pipeline.progress import ProgressStep
from pipeline.release.artifacts.catalogue import build_catalogue
from pipeline.release.artifacts.staging import Staging
from pipeline.release.config.training_settings import LateTraining
from pipeline.release.export.bert import export_cross_encoder
from pipeline.release.export.late_interaction import export_late_tower, write_late_interaction
from pipeline.release.models.tokenizer import plain_tokenizer
from services.ranking.batching.batcher import Batcher, BatchReport
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.cost_model import CostModel
from services.ranking.pairs.pair_tokens import PairTemplate, TokenPairs


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class GatedModel:
    """Sums token ids once its gate is open; keeps its batches; raises on batches with the poisonous token."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Semaphore(0)
        self.batches: list[Int64Array] = []
        self.poison = -1

    def __call__(
        self, input_ids: Int64Array, attention_mask: Int64Array, token_type_ids: Int64Array
    ) -> npt.NDArray[np.float32]:
        """Return the sum of each row."""
        del token_type_ids
        self.batches.append(input_ids)
        self.began.release()
        assert self.gate.wait(timeout=30)
        if (input_ids == self.poison).any():
            raise ValueError("poison")
        return np.asarray((input_ids * attention_mask).sum(1), dtype=np.float32)


def make_pairs(lengths: Sequence[int], token: int = 1) -> TokenPairs:
    """Return pairs of these lengths, special tokens included; the items' tokens are ``token``, ``token`` + 1, …."""
    items = TokenRows.from_rows([np.full(length - 4, token + number) for number, length in enumerate(lengths)])
    return PairTemplate(101, 102).join(TokenRows.from_rows([[7]]), np.zeros(len(lengths), np.int64), items)


@pytest.fixture
def pairs_of() -> Callable[..., TokenPairs]:
    """Make pairs of given lengths."""
    return make_pairs


@pytest.fixture
def clock() -> Clock:
    """A clock that the test sets."""
    return Clock()


@pytest.fixture
def model() -> GatedModel:
    """A model that sums token ids."""
    return GatedModel()


@pytest.fixture
def reports() -> list[BatchReport]:
    """The reports of this test's batchers."""
    return []


@pytest.fixture
def batcher_of(model: GatedModel, clock: Clock, reports: list[BatchReport]) -> Iterator[Callable[..., Batcher]]:
    """Make batchers around the gated model that are closed at the end; a token costs a millisecond."""
    made: list[Batcher] = []

    def make(cost: CostModel | None = None, **limits: int) -> Batcher:
        cost = cost or CostModel(0.0, 1.0)
        made.append(Batcher(model, cost, BatchLimits(**limits), observe=reports.append, clock=clock))
        return made[-1]

    yield make
    model.gate.set()
    for batcher in made:
        batcher.close()


DATA = DataCard(source="tiny", fingerprint="0" * 64, items=240, events=0, licence="none")
FEATURES = (
    "repeat_count",
    "last_age",
    "popularity",
    "graph_follow_long",
    "similarity_max",
    "category_affinity",
    "source_semantic",
    "relative_behaviour",
    "fused_rank",
    "has_query",
    "logit",
    "logit_rank",
)
FUSION_WEIGHTS = dict(zip(FEATURES, np.linspace(-0.02, 0.03, len(FEATURES), dtype=np.float32).tolist(), strict=True))
LATE_FUSION_WEIGHTS = FUSION_WEIGHTS | {"late_score": 0.3, "late_rank": -0.01, "late_deviation": 0.2}


@pytest.fixture
def fusion_weights() -> dict[str, float]:
    """The weight of each feature in the fusion, which is a logistic regression without intercept."""
    return FUSION_WEIGHTS


@pytest.fixture
def late_fusion_weights() -> dict[str, float]:
    """The same with a late-interaction tier."""
    return LATE_FUSION_WEIGHTS


@pytest.fixture(scope="session")
def ranking_folder(tmp_path_factory: pytest.TempPathFactory, tiny_base_model: Path, tiny_items: pl.DataFrame) -> Path:
    """Return a folder with what ranking reads of a release: a seeded cross-encoder, a hand-made fusion, tables."""
    folder = tmp_path_factory.mktemp("ranking-release")
    torch.manual_seed(3)
    model = BertForSequenceClassification.from_pretrained(tiny_base_model, num_labels=1)
    for weights in model.parameters():
        weights.data *= 4.0  # logits far enough apart to tell pairs by them
    export_cross_encoder(model.eval(), folder / layout.CROSS_ENCODER)
    shutil.copy(tiny_base_model / "tokenizer.json", folder / layout.CROSS_ENCODER_TOKENIZER)
    catalogue = build_catalogue(tiny_items, plain_tokenizer(str(folder / layout.CROSS_ENCODER_TOKENIZER)), 10)
    catalogue.save(folder / layout.CATALOGUE)
    settings = {"context_items": 4, "context_tokens": 24, "item_tokens": 10}
    (folder / layout.RANKER_SETTINGS).write_text(json.dumps(settings))
    (folder / "fusion").mkdir()
    (folder / layout.FUSION_SETTINGS).write_text(json.dumps({"features": FEATURES, "calibration": "none"}))
    _save_tables(folder, len(catalogue))
    onnx.save(_logistic(FUSION_WEIGHTS), str(folder / layout.FUSION))
    return folder


@pytest.fixture
def release_of(tmp_path: Path, ranking_folder: Path) -> Callable[..., Release]:
    """Publish a copy of the folder as a release, changed as the test wants."""
    return lambda change: _publish(ranking_folder, tmp_path, change)


@pytest.fixture(scope="session")
def late_folder(tmp_path_factory: pytest.TempPathFactory, ranking_folder: Path, tiny_base_model: Path) -> Path:
    """Return the folder with a late-interaction tier: a seeded tower and every item's vectors."""
    folder = tmp_path_factory.mktemp("late") / "release"
    shutil.copytree(ranking_folder, folder)
    torch.manual_seed(5)
    graph = new_tower(tiny_base_model, LateTraining(layers=2, width=8))
    export_late_tower(graph, folder / layout.LATE_TOWER)
    write_late_interaction(Staging(folder, DATA, "", {}), 8, ProgressStep(None, "", None))
    (folder / layout.FUSION_SETTINGS).write_text(
        json.dumps({"features": list(LATE_FUSION_WEIGHTS), "calibration": "none"})
    )
    onnx.save(_logistic(LATE_FUSION_WEIGHTS), str(folder / layout.FUSION))
    return folder


@pytest.fixture
def late_release_of(tmp_path: Path, late_folder: Path) -> Callable[..., Release]:
    """Publish a copy of the folder with a late-interaction tier as a release, changed as the test wants."""
    return lambda change: _publish(late_folder, tmp_path, change)


@pytest.fixture(scope="session")
def late_release(tmp_path_factory: pytest.TempPathFactory, late_folder: Path) -> Release:
    """The folder with a late-interaction tier as a release, not to be changed."""
    return _publish(late_folder, tmp_path_factory.mktemp("published-late"), lambda _: None)


@pytest.fixture(scope="session")
def ranking_release(tmp_path_factory: pytest.TempPathFactory, ranking_folder: Path) -> Release:
    """The folder as a release, not to be changed."""
    return _publish(ranking_folder, tmp_path_factory.mktemp("published"), lambda _: None)


def _publish(folder: Path, to: Path, change: Callable[[Path], object]) -> Release:
    staging = to / "staging"
    shutil.copytree(folder, staging)
    change(staging)
    files = describe_files(staging)
    models = {
        "cross_encoder": layout.CROSS_ENCODER,
        "fusion": layout.FUSION,
        "late_interaction": layout.LATE_TOWER,
    }
    cards = {
        name: ModelCard(file=file, precision="fp32", base_model="tiny", base_model_origin="test", trained_on="")
        for name, file in models.items()
        if file in files
    }
    manifest = Manifest(
        release_id=compute_release_id(files, DATA, {}, cards),
        created_at="2026-01-01T00:00:00+00:00",
        build_key="",
        data=DATA,
        models=cards,
        settings={},
        metrics={},
        files=files,
    )
    return publish(staging, to / "store", manifest)


def _save_tables(folder: Path, items: int) -> None:
    generator = np.random.default_rng(1)
    (folder / "behaviour").mkdir()
    np.save(folder / layout.POPULARITY, generator.integers(0, 50, items).astype(np.float32))
    next_item = (np.arange(items, dtype=np.int32) + 1) % items
    ItemGraph(np.arange(items + 1), next_item, np.full(items, 0.5, np.float32)).save(folder, "follow")
    (folder / "index").mkdir()
    vectors = generator.normal(size=(80, 8)).astype(np.float32)
    np.save(folder / layout.VECTORS, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    np.save(folder / layout.VECTOR_OF_ITEM, np.arange(items) // 3)


def _logistic(weight_of: dict[str, float]) -> onnx.ModelProto:
    """Return sigmoid(features @ weights) with missing features taken for 0."""
    weights = np.array(list(weight_of.values()), np.float32)
    matrix = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", len(weights)])
    out = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n"])
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("weights", TensorProto.FLOAT, [len(weights)], weights),
    ]
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["present"]),
        helper.make_node("MatMul", ["present", "weights"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["probability"]),
    ]
    graph = helper.make_graph(nodes, "fusion", [matrix], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
