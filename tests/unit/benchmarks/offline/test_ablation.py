"""Ablation: which features go with which evidence, and that what matters is seen to matter."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.offline import ablation as ablation_module
from benchmarks.offline.ablation import ablation, ablation_table, features_of
from pipeline.learning.fusion.lambdamart import RankedExamples
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipe import GraphSpec, Recipe
from pipeline.release.config.recipes import SEQUENCES

REQUESTS, SIZE = 100, 15
RECIPE = Recipe(
    name="tiny",
    description="two graphs",
    sources={"popular": {"kind": "popular"}},
    graphs={"good": GraphSpec("cooccurrence"), "idle": GraphSpec("ease")},
    features=("fused", "graph_good_long", "graph_idle_long", "relative_idle"),
    falling=frozenset({"fused"}),
)


def _examples(seed: int) -> RankedExamples:
    """Return requests whose target is told by one graph alone."""
    features = np.random.default_rng(seed).random((REQUESTS, SIZE, 4)).astype(np.float32)
    labels = features[:, :, 1] == features[:, :, 1].max(axis=1, keepdims=True)
    return RankedExamples(features.reshape(-1, 4), labels.ravel().astype(np.float32), np.full(REQUESTS, SIZE))


def test_without_the_graph_that_tells_the_loss_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """NDCG falls beyond its interval without the one graph that tells, and not without an idle one."""
    monkeypatch.setattr(ablation_module, "find_recipe", lambda _: RECIPE)
    _examples(1).save(tmp_path / "learnt.npz")
    _examples(2).save(tmp_path / "checked.npz")
    settings = dataclasses.replace(BuildSettings(), trees=20)
    found = ablation(tmp_path, settings, ProgressReport(Console(quiet=True)))
    assert found["without"]["co-occurrence"]["high"] < -0.1
    assert found["without"]["EASE"]["low"] > -0.1
    assert set(found["alone"]) == {"idle"}
    assert ablation_table(found).row_count == 1 + len(found["without"]) + 1


def test_text_stands_behind_graphs_and_similarities():
    """Dropping the text rankers drops their graphs, their sources and the cosines, and nothing of behaviour."""
    dropped = features_of(SEQUENCES, ("text",))
    assert {"graph_words_long", "relative_characters", "similarity_max", "relative_semantic"} <= dropped
    assert not {"graph_both_long", "fused"} & dropped
