"""Ablation: which features go with which evidence, and that what matters is seen to matter."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.offline import ablation as ablation_module
from benchmarks.offline.ablation import ablation, ablation_table, features_of_kinds
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
    non_increasing_features=frozenset({"fused"}),
)


def _examples(seed: int) -> RankedExamples:
    """Return requests whose target one graph alone reveals."""
    features = np.random.default_rng(seed).random((REQUESTS, SIZE, 4)).astype(np.float32)
    labels = features[:, :, 1] == features[:, :, 1].max(axis=1, keepdims=True)
    return RankedExamples(features.reshape(-1, 4), labels.ravel().astype(np.float32), np.full(REQUESTS, SIZE))


def test_leaving_the_informative_graph_out_costs_ndcg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """NDCG falls significantly without the informative graph, and not without an idle one."""
    monkeypatch.setattr(ablation_module, "find_recipe", lambda _: RECIPE)
    _examples(1).save(tmp_path / "learnt.npz")
    _examples(2).save(tmp_path / "checked.npz")
    settings = dataclasses.replace(BuildSettings(), trees=20)
    found = ablation(tmp_path, settings, ProgressReport(Console(quiet=True)))
    assert found["without"]["co-occurrence"]["high"] < -0.1
    assert found["without"]["EASE"]["low"] > -0.1
    assert set(found["alone"]) == {"idle"}
    assert ablation_table(found).row_count == 1 + len(found["without"]) + 1


def test_text_features_are_graphs_sources_and_similarities():
    """The features of text rankers are their graphs, sources and cosines, and none of behaviour."""
    dropped = features_of_kinds(SEQUENCES, ("text",))
    assert {"graph_words_long", "relative_characters", "similarity_max", "relative_semantic"} <= dropped
    assert not {"graph_both_long", "fused"} & dropped
