"""Loading the models of a release."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import BadRelease
from common.onnx_session import SessionOptions
from common.release import layout
from common.release.store import Release
from services.ranking.cascade.models import RankingModels
from services.ranking.late_interaction.scorer import LateInteractionOptions


def _load(release: Release) -> RankingModels:
    return RankingModels.load(release, SessionOptions(threads=1), LateInteractionOptions())


def _edit(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        settings = json.loads((folder / name).read_text())
        change(settings)
        (folder / name).write_text(json.dumps(settings))

    return edit


def _array(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


def test_a_release_names_its_models(ranking_release: Release, late_release: Release):
    """The providers are those of the models that the release has."""
    plain, late = _load(ranking_release), _load(late_release)
    assert set(plain.providers) == {"cross_encoder", "fusion"}
    assert set(late.providers) == {"cross_encoder", "fusion", "late_interaction"}
    assert plain.late is None
    assert late.late is not None


def test_a_release_may_have_no_cross_encoder(release_of: Callable[..., Release]):
    """The tier is missing if the manifest does not list it; nothing else is missed."""
    models = _load(release_of(lambda folder: (folder / layout.CROSS_ENCODER).unlink()))
    assert set(models.providers) == {"fusion"}
    assert models.cross_encoder is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_edit(layout.FUSION_SETTINGS, lambda s: s["features"].append("phase_of_the_moon")), "phase_of_the_moon"),
        (_edit(layout.FUSION_SETTINGS, lambda s: s["features"].append("shelf_affinity")), "shelf_affinity"),
        (_edit(layout.FUSION_SETTINGS, lambda s: s["features"].append("graph_bought_long")), "behaviour/bought"),
        (_edit(layout.FUSION_SETTINGS, lambda s: s["features"].append("history_items")), "13 features"),
        (_edit(layout.FUSION_SETTINGS, lambda s: s.pop("features")), "fusion.json"),
        (_edit(layout.RANKER_SETTINGS, lambda s: s.update(item_tokens=0)), "item_tokens"),
        (lambda folder: (folder / layout.RANKER_SETTINGS).unlink(), "ranker/ranker.json"),
        (lambda folder: (folder / layout.CROSS_ENCODER_TOKENIZER).write_text("{"), "tokenizer.json"),
        (lambda folder: np.save(folder / layout.POPULARITY, np.zeros(3, np.float32)), "popularity.npy has 3 rows"),
        (lambda folder: shutil.copy(folder / layout.FUSION, folder / layout.CROSS_ENCODER), "has the inputs features"),
    ],
)
def test_a_release_that_cannot_be_served_is_refused(
    release_of: Callable[..., Release], change: Callable[[Path], object], message: str
):
    """The error names the file or the feature at fault."""
    with pytest.raises(BadRelease, match=message):
        _load(release_of(change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_edit(layout.LATE_SETTINGS, lambda s: s.update(bits=5)), "late.json"),
        (_edit(layout.LATE_SETTINGS, lambda s: s.update(bits=4)), "late/tokens.npy is"),
        (_edit(layout.LATE_SETTINGS, lambda s: s.update(width=10)), "late/steps.npy is"),
        (lambda folder: (folder / layout.LATE_SETTINGS).unlink(), "late/late.json"),
        (lambda folder: (folder / layout.LATE_TOKENS).write_bytes(b"no array"), "late/tokens.npy is not an array"),
        (_array(layout.LATE_TOKENS, lambda a: a[:-1]), "late/tokens.npy is"),
        (_array(layout.LATE_LENGTHS, lambda a: a * 0), "late/lengths.npy has texts without"),
        (_array(layout.LATE_POOLED, lambda a: a.astype(np.int16)), "late/pooled.npy is int16"),
        (_array(layout.LATE_PRIOR, lambda a: a * np.nan), "late/prior.npy has values that are not finite"),
        (_array(layout.LATE_STEPS, lambda a: a * 0), "late/steps.npy has steps that are not above 0"),
        (_array(layout.LATE_TEXT_OF_ITEM, lambda a: a + 1_000), "late/text_of_item.npy references unknown texts"),
        (lambda folder: shutil.copy(folder / layout.FUSION, folder / layout.LATE_TOWER), "late/tower.onnx reads"),
        (lambda folder: shutil.copy(folder / layout.FUSION, folder / layout.LATE_PRODUCTS), "do not fit together"),
        (_edit(layout.RANKER_SETTINGS, lambda s: s.update(plan={"monday": {}})), "ranker.json"),
    ],
)
def test_a_damaged_late_interaction_tier_is_refused(
    late_release_of: Callable[..., Release], change: Callable[[Path], object], message: str
):
    """The error names the file at fault."""
    with pytest.raises(BadRelease, match=message):
        _load(late_release_of(change))
