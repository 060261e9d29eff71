"""Building a release."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from common.errors import InvalidRequest
from common.onnx_session import SessionOptions
from common.release.catalogue import Catalogue
from common.release.layout import (
    CATALOGUE,
    ENCODER,
    FUSION_SETTINGS,
    POPULARITY,
    RETRIEVAL_SETTINGS,
    VECTOR_OF_ITEM,
    VECTORS,
)
from common.release.store import Release, open_release
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import Windows
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import BASKETS
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.encoding.text_encoder import OnnxTextEncoder


@pytest.fixture
def report() -> ProgressReport:
    return ProgressReport(Console(quiet=True))


def test_release_tells_where_its_models_come_from(tiny_release: Path):
    """The manifest names base model, origin, hash, training data, precision and parity of each model."""
    manifest = open_release(str(tiny_release)).manifest
    assert set(manifest.models) == {"encoder", "cross_encoder", "fusion"}
    assert "local folder" in manifest.models["encoder"].base_model_origin
    assert "sha256" in manifest.models["cross_encoder"].base_model_origin
    assert all(card.parity_max_abs_error is not None for card in manifest.models.values())
    assert manifest.data.source == "tiny shop"
    assert manifest.metrics["validation"]["fusion"]


def test_release_holds_learned_weights_and_the_features_read(tiny_release: Path):
    """The first stage's weights are learned, not equal, and the fusion lists its features in order."""
    release = open_release(str(tiny_release))
    weights = json.loads(release.file(RETRIEVAL_SETTINGS).read_text())["weights"]["history"]
    assert max(weights.values()) == pytest.approx(1.0)
    assert len(set(weights.values())) > 1
    assert json.loads(release.file(FUSION_SETTINGS).read_text())["features"] == [
        *BASKETS.features,
        *BASKETS.logit_features,
    ]


def test_same_data_and_settings_give_the_same_release(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tiny_release: Path, tmp_path: Path, report: ProgressReport
):
    """A second build in another place has the same id, the same content to the last byte, and the same metrics."""
    again = build(tiny_dataset, tmp_path / "again", tiny_settings, report)
    first = open_release(str(tiny_release))
    assert again.id == first.id
    assert again.manifest.files == first.manifest.files
    assert _untimed(again) == _untimed(first)
    assert _untimed(again)["training"]["cross_encoder"]["valid_ndcg"]


def test_the_id_covers_every_file(tiny_release: Path):
    """Every file in a release's folder is listed in its manifest, and so is part of its id."""
    release = open_release(str(tiny_release))
    there = {file.relative_to(release.path).as_posix() for file in release.path.rglob("*") if file.is_file()}
    assert there == {*release.manifest.files, "manifest.json"}


def _untimed(release: Release) -> dict[str, Any]:
    timed = ("build_s", "build_seconds", "tiers")
    return {name: value for name, value in release.manifest.metrics.items() if name not in timed}


def test_impressions_are_not_learned_from(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tiny_release: Path, tmp_path: Path
):
    """What was shown and not chosen makes no item popular, and the build says how many events it leaves out."""
    shown = tiny_dataset.events.with_columns(
        pl.lit("impression").alias("event"), ("shown " + pl.col("event_id")).alias("event_id")
    )
    events = pl.concat([tiny_dataset.events, shown])
    console = Console(record=True, width=200)
    dataset = Dataset(tiny_dataset.items, events, tiny_dataset.judgements, tiny_dataset.report)
    release = build(dataset, tmp_path / "shown", tiny_settings, ProgressReport(console))
    first = open_release(str(tiny_release))
    assert np.array_equal(np.load(release.file(POPULARITY)), np.load(first.file(POPULARITY)))
    printed = console.export_text()
    assert f"Events that do not count are left out: impression ({shown.height:,})" in printed
    said = [line.split("│") for line in printed.splitlines() if "events that do not" in line]
    assert [[cell.strip() for cell in line[2:4]] for line in said] == [[f"{shown.height:,}", f"{events.height:,}"]]


def test_build_that_was_done_before_is_reused(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tiny_release: Path, report: ProgressReport
):
    """With the same data and settings nothing is built, and other settings are not mistaken for the same."""
    before = {path.name for path in tiny_release.iterdir()}
    assert build(tiny_dataset, tiny_release, tiny_settings, report).id in before
    assert report.seconds == {}
    assert {path.name for path in tiny_release.iterdir()} == before


def test_failed_build_leaves_the_store_as_it_was(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path: Path, report: ProgressReport
):
    """A build that cannot be finished publishes nothing and leaves no folder behind."""
    impossible = dataclasses.replace(tiny_settings, min_buyers=1_000)
    with pytest.raises(InvalidRequest, match="lower min_buyers"):
        build(tiny_dataset, tmp_path, impossible, report)
    assert list(tmp_path.iterdir()) == []


def test_every_item_is_in_the_catalogue_and_few_buyers_are_not_counted(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path: Path
):
    """Items with few buyers, or without any event, are found by text, id and exploration; tables leave them out."""
    settings = dataclasses.replace(tiny_settings, min_buyers=8, added_sources=("exploration",))
    console = Console(record=True, width=200)
    items = tiny_dataset.items
    never = items.head(1).with_columns(item_id=pl.lit("never-bought"), title=pl.lit("fresh sponge candle"))
    dataset = Dataset(pl.concat([items, never]), tiny_dataset.events, None, tiny_dataset.report)
    release = build(dataset, tmp_path, settings, ProgressReport(console))
    catalogue = Catalogue.open(release.file(CATALOGUE))
    assert sorted(catalogue.item_ids) == sorted(dataset.items["item_id"])
    popularity = np.load(release.file(POPULARITY))
    assert 0 < np.count_nonzero(popularity) < len(catalogue)
    assert popularity[popularity > 0].min() >= settings.min_buyers
    assert {one["what"]: one["count"] for one in release.manifest.metrics["left_out"]}[
        "items, from graphs and popularity"
    ] == np.count_nonzero(popularity == 0)
    assert f"{np.count_nonzero(popularity == 0)}" in console.export_text().partition("Left out of the release")[2]
    with closing(FirstStage.load(release)) as stage:
        by_text = stage.retrieve([Request(query="fresh sponge candle", limit=5, sources=("semantic",))])[0]
        by_id = stage.snapshot.rows_of(["never-bought"])
        explored = stage.retrieve([Request(limit=200, sources=("exploration",))])[0]
        assert "never-bought" in by_text.item_ids
        assert by_id[0] >= 0
        assert "never-bought" in explored.item_ids


def test_windows_longer_than_the_data_are_refused(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path: Path, report: ProgressReport
):
    """Where the windows reach back before the first event, the message says so and asks for shorter ones."""
    with pytest.raises(InvalidRequest, match="choose shorter windows"):
        build(tiny_dataset, tmp_path, dataclasses.replace(tiny_settings, window_days=60), report)


def test_vectors_are_one_a_text(tiny_release: Path):
    """Products that share a text share a vector, and every text has one."""
    release = open_release(str(tiny_release))
    vectors, of_item = (np.load(release.file(f"index/{name}.npy")) for name in ("vectors", "vector_of_item"))
    texts = Catalogue.open(release.file(CATALOGUE)).table["text"].to_pylist()
    assert len(vectors) == len(set(texts)) < len(texts)
    assert len({(text, row) for text, row in zip(texts, of_item.tolist(), strict=True)}) == len(vectors)


def test_an_encoder_fine_tuned_on_purchases_is_what_is_served(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tiny_release: Path, tmp_path: Path, report: ProgressReport
):
    """Its vectors are in the index, its card says what it saw, and the rest of the release is made as ever."""
    settings = dataclasses.replace(tiny_settings.with_encoder_epochs(2), cross_encoder_lists=8, trees=5)
    release, plain = build(tiny_dataset, tmp_path / "trained", settings, report), open_release(str(tiny_release))
    windows = Windows.of(tiny_dataset.events, settings.window_days)
    assert release.manifest.models["encoder"].trained_on == f"60 purchases before {windows.tables:%Y-%m-%d}"
    assert release.manifest.files[ENCODER].sha256 != plain.manifest.files[ENCODER].sha256
    texts = Catalogue.open(release.file(CATALOGUE)).table["text"].to_pylist()
    vectors, of_item = np.load(release.file(VECTORS)), np.load(release.file(VECTOR_OF_ITEM))
    own = OnnxTextEncoder.load(release, SessionOptions()).encode(texts[:3])
    np.testing.assert_allclose(vectors[of_item[:3]], own, atol=1e-5)
    np.testing.assert_array_equal(np.load(release.file(POPULARITY)), np.load(plain.file(POPULARITY)))
    assert not (tmp_path / "trained" / "encoder-checkpoints").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"window_days": float("nan")}, {"window_days": 1e9}, {"seed": -1}, {"min_buyers": -1}, {"student_layers": 3}],
)
def test_impossible_settings_are_refused_at_once(wrong: dict[str, float]):
    """Settings that no build could follow are refused by name before anything is done."""
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        BuildSettings(**wrong)
