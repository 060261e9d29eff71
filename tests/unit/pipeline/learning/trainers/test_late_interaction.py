"""Late interaction offline: training, export, encoding, and a release that has the tier."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
import torch

from common.onnx_session import OnnxModel, SessionOptions
from common.ragged import TokenRows
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import open_release
from pipeline.learning.examples.late_interaction import LateExample
from pipeline.learning.trainers.late_interaction import new_tower, train_late_interaction
from pipeline.release.config.training_settings import LateTraining
from pipeline.release.export.bert import ParityError
from pipeline.release.export.late_interaction import export_late_tower, write_context_tower
from pipeline.release.models.late_interaction_tower import LateTowerGraph, joint_scores
from pipeline.release.models.tokenizer import plain_tokenizer
from services.ranking.late_interaction.item_vectors import LateItemVectors
from services.ranking.late_interaction.settings import LateInteractionSettings
from services.ranking.late_interaction.tower import LateInteractionTower, Role, padded
from services.ranking.pairs.pair_tokens import PairTemplate
from services.ranking.release_settings import Occasion

SETTINGS = LateTraining(layers=2, width=8, requests_per_step=4, epochs=30, learning_rate=3e-3, head_learning_rate=1e-2)


@pytest.fixture(scope="module")
def template(tiny_base_model: Path) -> PairTemplate:
    """The special tokens."""
    return PairTemplate.from_tokenizer(plain_tokenizer(str(tiny_base_model / "tokenizer.json")))


@pytest.fixture(scope="module")
def graph(tiny_base_model: Path) -> LateTowerGraph:
    """An untrained tower."""
    torch.manual_seed(1)
    return new_tower(tiny_base_model, SETTINGS).eval()


def _lists(label: bool, teacher: bool) -> list[LateExample]:
    """Return lists in which an item fits that shares a token with the context."""
    generator = np.random.default_rng(2)
    lists = []
    for _ in range(16):
        context = generator.choice(np.arange(10, 40), 3, replace=False).astype(np.int32)
        fits = np.array([1, 0, 1, 0], np.float32)
        items = [generator.choice(context if one else np.arange(40, 70), 2).astype(np.int32) for one in fits]
        unknown = np.full(4, np.nan, np.float32)
        lists.append(
            LateExample(
                context, TokenRows.from_rows(items), fits if label else unknown, 4 * fits - 2 if teacher else unknown
            )
        )
    return lists


@pytest.mark.parametrize(("label", "teacher"), [(True, False), (False, True)])
def test_the_tower_learns_from_labels_and_from_the_cross_encoder(
    tiny_base_model: Path, template: PairTemplate, tmp_path: Path, label: bool, teacher: bool
):
    """Trained on either alone, items that fit score above those that don't, on nearly the scale of log-odds."""
    examples = _lists(label, teacher)
    losses: list[float] = []
    graph = train_late_interaction(
        tiny_base_model, examples, template, SETTINGS, tmp_path / "work", lambda _, __, loss: losses.append(loss)
    )
    scores = np.concatenate([_torch_scores(graph, example, template) for example in examples])
    fits = np.tile([1, 0, 1, 0], len(examples)).astype(bool)
    assert scores[fits].mean() > scores[~fits].mean() + 1.0
    assert losses[-1] < losses[15]


def test_the_tower_learns_from_contexts_that_only_the_cross_encoder_read(
    tiny_base_model: Path, template: PairTemplate, tmp_path: Path
):
    """Logits of several contexts rank items, each context in its own order."""
    others = _lists(label=False, teacher=True)
    examples = [
        dataclasses.replace(
            one,
            context=np.array([5], np.int32),
            labels=np.full(4, 0.5, np.float32),
            teacher=np.full(4, np.nan, np.float32),
            others=TokenRows.from_rows([one.context, [90, 91]]),
            others_teacher=np.stack([one.teacher, np.zeros(4, np.float32)]),
        )
        for one in others
    ]
    graph = train_late_interaction(tiny_base_model, examples, template, SETTINGS, tmp_path / "work", lambda *_: None)
    scores = np.concatenate([_torch_scores(graph, one, template) for one in others])
    fits = np.tile([1, 0, 1, 0], len(examples)).astype(bool)
    assert scores[fits].mean() > scores[~fits].mean() + 1.0


def _torch_scores(graph: LateTowerGraph, example: LateExample, template: PairTemplate) -> np.ndarray:
    contexts = torch.from_numpy(padded(TokenRows.from_rows([example.context]), template))
    items = torch.from_numpy(padded(example.items, template))
    with torch.inference_mode():
        context = graph(contexts, torch.zeros(1, dtype=torch.int32))
        item = graph(items, torch.ones(len(items), dtype=torch.int32))
        owner = torch.zeros(len(items), dtype=torch.int64)
        return joint_scores(context, item, owner, item.weights > 0).numpy()


def test_the_exported_tower_is_the_trained_one(graph: LateTowerGraph, template: PairTemplate, tmp_path: Path):
    """ONNX gives what torch gives, whatever the padding; texts come back in their order, [CLS] in and [SEP] out."""
    assert export_late_tower(graph, tmp_path / "tower.onnx") <= 1e-4
    tower = LateInteractionTower(OnnxModel(tmp_path / "tower.onnx", SessionOptions(threads=1)), template)
    texts = TokenRows.from_rows([[11, 12, 13, 14, 15], [], [21], [31] * 40, [11, 12]])
    read = tower(texts, Role.ITEM)
    assert read.lengths.tolist() == [6, 1, 2, 41, 3]
    starts = np.cumsum(read.lengths) - read.lengths
    for place, text in enumerate(texts):
        alone = tower(TokenRows.from_rows([text]), Role.ITEM)
        own = slice(starts[place], starts[place] + read.lengths[place])
        np.testing.assert_allclose(read.vectors[own], alone.vectors, atol=1e-5)
        np.testing.assert_allclose(read.weights[own], alone.weights, atol=1e-5)
        np.testing.assert_allclose(read.pooled[place], alone.pooled[0], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(read.vectors, axis=1), 1.0, atol=1e-5)


def test_a_tower_that_computes_something_else_is_not_exported(
    graph: LateTowerGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A graph whose file differs from torch is refused."""
    save = torch.onnx.export

    def spoilt(module: LateTowerGraph, *given: object, **named: object) -> None:
        with torch.no_grad():
            module.prior.bias += 1.0
        save(module, *given, **named)
        with torch.no_grad():
            module.prior.bias -= 1.0

    monkeypatch.setattr(torch.onnx, "export", spoilt)
    with pytest.raises(ParityError, match=r"tower\.onnx differs"):
        export_late_tower(graph, tmp_path / "tower.onnx")


def test_the_context_tower_is_the_tower_in_int8(graph: LateTowerGraph, template: PairTemplate, tmp_path: Path):
    """The int8 tower gives nearly the same vectors, from a file with rounded weights."""
    export_late_tower(graph, tmp_path / "tower.onnx")
    write_context_tower(tmp_path / "tower.onnx", tmp_path / "context.onnx")
    operators = {node.op_type for node in onnx.load(tmp_path / "context.onnx").graph.node}
    assert "MatMulInteger" in operators
    full, small = (
        LateInteractionTower(OnnxModel(tmp_path / name, SessionOptions(threads=1)), template)(
            TokenRows.from_rows([[11, 12, 13]]), Role.CONTEXT
        )
        for name in ("tower.onnx", "context.onnx")
    )
    assert ((full.vectors * small.vectors).sum(axis=1) > 0.98).all()


def test_a_release_with_the_tier_is_whole(late_shop: Path):
    """The build writes vectors of every distinct text, features, and what the options reached; it reads always."""
    release = open_release(str(late_shop))
    catalogue = Catalogue.open(release.file(layout.CATALOGUE))
    vectors = LateItemVectors.load(release, LateInteractionSettings.load(release), len(catalogue))
    first = vectors.vectors_of(np.arange(len(catalogue)))
    assert len(first) == len(catalogue)
    assert (first.lengths == np.diff(catalogue.token_offsets) + 1).all()
    assert len(np.load(release.file(layout.LATE_LENGTHS))) < len(catalogue)
    features = json.loads(release.file(layout.FUSION_SETTINGS).read_text())["features"]
    assert features[-3:] == ["late_score", "late_rank", "late_deviation"]
    assert json.loads(release.file(layout.RANKER_SETTINGS).read_text())["plan"] == {}
    reached = release.manifest.metrics["tiers"]
    assert set(reached) <= set(get_args(Occasion))
    assert all(len(options) == 6 for options in reached.values())
    assert release.manifest.models["late_interaction"].parity_max_abs_error <= 1e-4
