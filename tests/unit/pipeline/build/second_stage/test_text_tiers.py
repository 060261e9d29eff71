"""Text tiers are trained where a short training gains, and kept where the plan uses them."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from common.release import layout
from common.release.store import Release
from pipeline.build.builder import build
from pipeline.build.second_stage.text_tiers import NO_GAIN, PROBE_CONFIDENCE, Fused
from pipeline.data.dataset.dataset import Dataset
from pipeline.learning.fusion import tier_plan
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import BASKETS, SEQUENCES
from pipeline.release.config.training_settings import LateTraining
from services.ranking.cascade.second_stage import SecondStage

NONE = {"late_interaction": 0, "cross_encoder": 0}
RECIPES = {BASKETS.name: BASKETS, SEQUENCES.name: SEQUENCES}


@pytest.fixture
def planned(tiny_settings: BuildSettings) -> BuildSettings:
    """Settings that plan the tiers, with late interaction to be tried."""
    late = LateTraining(layers=2, width=8, requests_per_step=8, epochs=1)
    return dataclasses.replace(
        tiny_settings,
        tiers="planned",
        late_bits=8,
        late_lists=16,
        late=late,
        trees=5,
        boosters=1,
        training_requests=90,
        min_gain_per_ms=-1e9,
    )


def _build(dataset: Dataset, store: Path, settings: BuildSettings) -> tuple[Release, str]:
    console = Console(file=io.StringIO(), width=300)
    release = build(dataset, store, settings, ProgressReport(console))
    SecondStage.load(release).close()
    return release, console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def _settings_of(release: Release, name: str) -> dict[str, object]:
    return json.loads(release.file(name).read_text())


def _request(bought_place: int) -> Any:
    """Return a request whose only bought item has a place of the first stage's order of three, from 0."""
    labels = np.arange(3) == bought_place
    return SimpleNamespace(
        labels=labels, candidates=SimpleNamespace(rows=np.arange(3)), request=SimpleNamespace(bought=[bought_place])
    )


def test_reading_has_to_gain_over_the_first_stages_order_where_that_is_kept():
    """A fusion that is worse than the first stage is not what reading is compared with."""
    requests = [_request(0)] * 20 + [_request(2)] * 20
    occasions = ["query"] * 20 + ["history"] * 20
    fused_alone, read = np.repeat([0.6, 0.9], 20), np.repeat([0.8, 0.9], 20)
    options = [tier_plan.TierOption(0, 0, 1.0, fused_alone), tier_plan.TierOption(0, 15, 9.0, read)]
    fused = Fused(SimpleNamespace(), SimpleNamespace(), options, requests, occasions)  # type: ignore[arg-type]
    assert {"query", "new_user"} <= set(fused.first_stage_order())
    assert "history" not in fused.first_stage_order()
    compared = fused.options_over_either_order()
    np.testing.assert_allclose(compared[0].gain, np.repeat([1.0, 0.9], 20))
    assert tier_plan.gaining_occasions(options, occasions, PROBE_CONFIDENCE) == {"query": pytest.approx(0.2)}
    assert not tier_plan.gaining_occasions(compared, occasions, PROBE_CONFIDENCE)


@pytest.mark.parametrize(("count", "kept"), [(7, True), (8, False)])
def test_a_few_requests_do_not_change_the_first_stages_order(count: int, kept: bool):
    """A gain that a handful of requests show may be luck."""
    requests, occasions = [_request(2)] * count, ["query"] * count
    options = [tier_plan.TierOption(0, 0, 1.0, np.repeat(0.9, count))]
    fused = Fused(SimpleNamespace(), SimpleNamespace(), options, requests, occasions)  # type: ignore[arg-type]
    assert ("query" in fused.first_stage_order()) is kept


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_what_gains_nothing_is_not_in_the_release(
    tiny_dataset: Dataset,
    planned: BuildSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
):
    """Neither models nor features of a tier are written; the build and the model card say so."""
    monkeypatch.setattr(tier_plan, "lower_bound", lambda *_: -0.1)
    release, said = _build(tiny_dataset, tmp_path, dataclasses.replace(planned, recipe=recipe))
    assert not {"cross_encoder", "late_interaction"} & set(release.manifest.models)
    assert not (release.path / layout.CROSS_ENCODER).exists()
    assert not (release.path / layout.LATE_FOLDER).exists()
    assert _settings_of(release, layout.FUSION_SETTINGS)["features"] == list(RECIPES[recipe].features)
    ranker = _settings_of(release, layout.RANKER_SETTINGS)
    assert ranker["plan"] == dict.fromkeys(tier_plan.OCCASIONS, NONE)
    assert ranker["depth"] == 0
    assert "it is neither trained nor in the release" in said
    assert "The late interaction is not in the release" in said
    assert "No text tier" in release.file(layout.MODEL_CARD).read_text()
    assert "training" not in release.manifest.metrics


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_what_gains_is_trained_on_every_list_and_planned(
    tiny_dataset: Dataset,
    planned: BuildSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
):
    """After a short training that gains comes the whole one, and the plan has depths where requests were measured."""
    monkeypatch.setattr(tier_plan, "lower_bound", lambda *_: 0.1)
    release, said = _build(tiny_dataset, tmp_path, dataclasses.replace(planned, recipe=recipe))
    card = release.manifest.models["cross_encoder"]
    assert card.trained_on.startswith("16 lists")
    assert "late_interaction" in release.manifest.models
    plan = _settings_of(release, layout.RANKER_SETTINGS)["plan"]
    assert isinstance(plan, dict)
    assert plan["history"]["cross_encoder"] == 10
    assert (plan["new_items"] == NONE) == (recipe == SEQUENCES.name)  # which has no searches to plan by
    spec = RECIPES[recipe]
    features = _settings_of(release, layout.FUSION_SETTINGS)["features"]
    assert features == [*spec.features, *spec.logit_features, *spec.late_features]
    assert "training it" in said
    assert "Depths for history: cross-encoder 10" in said
    assert "| history |" in release.file(layout.MODEL_CARD).read_text()


def test_a_whole_training_that_gains_nothing_is_dropped(
    tiny_dataset: Dataset, planned: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The short training is believed at one standard error; the plan asks for more, and drops what fails it."""
    monkeypatch.setattr(tier_plan, "lower_bound", lambda _, confidence=1.0: 0.1 if confidence < 1.0 else -1)
    release, said = _build(tiny_dataset, tmp_path, dataclasses.replace(planned, late_bits=0))
    assert "cross_encoder" not in release.manifest.models
    assert "The cross-encoder is not in the release" in said
    assert release.manifest.metrics["dropped tiers"] == {"cross_encoder": NO_GAIN}


def test_depth_0_trains_nothing(tiny_dataset: Dataset, planned: BuildSettings, tmp_path: Path):
    """A depth of 0 is no question to ask: there is no short training."""
    release, said = _build(tiny_dataset, tmp_path, dataclasses.replace(planned, late_bits=0, cross_encoder_depth=0))
    assert "short training" not in said
    assert "short training" not in release.manifest.metrics
    assert set(release.manifest.models) == {"encoder", "fusion"}
    probability = release.manifest.metrics["validation"]["fusion"]
    assert all(np.isfinite(value) for value in probability.values())
