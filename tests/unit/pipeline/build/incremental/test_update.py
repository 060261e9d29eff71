"""Updating a release with new events and items."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console

from common.arrays import RowIndices
from common.errors import InvalidRequest
from common.onnx_session import SessionOptions
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import SIGNATURE, Release, open_release
from common.security.signature import PublicKeys
from pipeline.build.builder import build
from pipeline.build.incremental import update as module
from pipeline.build.incremental.update import update
from pipeline.data.dataset.dataset import Dataset
from pipeline.learning.item_graphs.purchases import Purchases, popularity
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.tables.replay import end_of
from services.ranking.cascade.second_stage import SecondStage
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.encoding.text_encoder import OnnxTextEncoder

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
MODELS = [layout.ENCODER, layout.CROSS_ENCODER, layout.FUSION, layout.RETRIEVAL_SETTINGS, layout.FUSION_SETTINGS]


@pytest.fixture(scope="module")
def report() -> ProgressReport:
    return ProgressReport(Console(quiet=True))


@pytest.fixture(scope="module")
def tomorrow(tiny_dataset: Dataset) -> Dataset:
    """Return the tiny shop a day later: an item more, with purchases; one less; and one with another title."""
    items, events = tiny_dataset.items, tiny_dataset.events
    gone = str(items["item_id"][-1])
    events = events.filter(pl.col("item_id") != gone)
    renamed = pl.when(pl.col("item_id") == items["item_id"][0]).then(pl.lit("small soap")).otherwise(pl.col("title"))
    new = items.head(1).with_columns(item_id=pl.lit("a-new-item"), title=pl.lit("white candle towel"))
    items = pl.concat([items.filter(pl.col("item_id") != gone).with_columns(title=renamed), new])
    sold = events.head(5).with_columns(
        item_id=pl.lit("a-new-item"),
        event_id=pl.format("new {}", pl.int_range(5)),
        user_id=pl.format("u{}", pl.int_range(5)),
        timestamp=pl.lit(events["timestamp"].max() + timedelta(hours=9)),
    )
    return Dataset(items, pl.concat([events, sold]), None, tiny_dataset.report)


@pytest.fixture(scope="module")
def store(late_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with a release that has late interaction."""
    return shutil.copytree(late_shop, tmp_path_factory.mktemp("updates") / "store")


@pytest.fixture(scope="module")
def before(store: Path) -> Release:
    return open_release(str(store))


@pytest.fixture(scope="module")
def after(store: Path, before: Release, tomorrow: Dataset, report: ProgressReport) -> Release:
    assert before.id
    return update(tomorrow, store, report, signing_key=KEY)


def test_models_are_kept_and_tables_count_every_event(before: Release, after: Release, tomorrow: Dataset):
    """The same models serve tables up to the last event, and the release before is still whole."""
    assert open_release(str(after.path.parent)).id == after.id != before.id
    assert open_release(str(before.path)).manifest == before.manifest
    assert all(after.manifest.files[name] == before.manifest.files[name] for name in MODELS)
    assert after.manifest.models == before.manifest.models
    catalogue, end = Catalogue.open(after.file(layout.CATALOGUE)), end_of(tomorrow.events)
    assert end is not None
    assert sorted(catalogue.item_ids) == sorted(tomorrow.items["item_id"])
    expected = popularity(Purchases.of(tomorrow.events, catalogue, end), len(catalogue)).buyers
    np.testing.assert_array_equal(np.load(after.file(layout.POPULARITY)), expected)
    until = after.manifest.learned_until
    assert until == {**before.manifest.learned_until, "tables": end.isoformat()}
    card = after.file(layout.MODEL_CARD).read_text()
    assert f"{tomorrow.events.height:,} events of {tomorrow.items.height:,} items" in card
    assert f"| tables | {end} |" in card


def test_vectors_are_what_a_build_computes(before: Release, after: Release):
    """Known texts keep their vectors and new ones are embedded by the same models, in both tiers."""
    catalogue = Catalogue.open(after.file(layout.CATALOGUE))
    texts = catalogue.table["text"].to_pylist()
    rows = np.load(after.file(layout.VECTOR_OF_ITEM))
    embedded = OnnxTextEncoder.load(after, SessionOptions()).encode(texts)
    with closing(FirstStage.load(after)) as stage:
        found = stage.retrieve([Request(query="white candle towel", limit=3, sources=("semantic",))])[0]
    np.testing.assert_allclose(np.load(after.file(layout.VECTORS))[rows], embedded, atol=1e-5)
    assert "a-new-item" in found.item_ids
    old = Catalogue.open(before.file(layout.CATALOGUE))
    same = [item for item in old.item_ids if item in set(catalogue.item_ids) and item != old.item_ids[0]]
    ours, theirs = _late_codes(after, catalogue.rows_of(same)), _late_codes(before, old.rows_of(same))
    assert ours == theirs
    assert len(np.load(after.file(layout.LATE_LENGTHS))) == np.load(after.file(layout.LATE_TEXT_OF_ITEM)).max() + 1
    SecondStage.load(after).close()


def _late_codes(release: Release, rows: RowIndices) -> list[bytes]:
    """Return the codes of the items' token vectors."""
    lengths = np.load(release.file(layout.LATE_LENGTHS)).astype(np.int64)
    codes, ends = np.load(release.file(layout.LATE_TOKENS)), np.cumsum(lengths)
    texts = np.load(release.file(layout.LATE_TEXT_OF_ITEM))[rows]
    return [codes[ends[text] - lengths[text] : ends[text]].tobytes() for text in texts]


def test_the_gate_compares_with_the_release_before(before: Release, after: Release):
    """It answers the same requests with tables of the same moment."""
    gate = after.manifest.metrics["gate"]
    assert gate["current"] == before.id
    assert after.manifest.metrics["validation"] == before.manifest.metrics["validation"]
    assert after.manifest.metrics["updated_from"] == before.id


def test_an_update_is_signed(after: Release, tomorrow: Dataset, store: Path, report: ProgressReport):
    """With a key the new release is signed, and the current one too if the data are the same."""
    keys = PublicKeys([KEY.public_key()])
    assert open_release(str(store), keys=keys).id == after.id
    (after.path / SIGNATURE).unlink()
    assert update(tomorrow, store, report, signing_key=KEY).id == open_release(str(store), keys=keys).id


def test_the_same_data_are_not_updated_twice(after: Release, tomorrow: Dataset, store: Path, report: ProgressReport):
    """Where the data did not change, the current release is returned, and nothing is written."""
    there = sorted(store.iterdir())
    assert update(tomorrow, store, report).id == after.id
    assert sorted(store.iterdir()) == there


def test_a_killed_update_leaves_the_store_as_it_was(
    late_shop: Path, tomorrow: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: ProgressReport
):
    """Whatever step it dies in, the current release is whole and current, and the next update succeeds."""
    store = shutil.copytree(late_shop, tmp_path / "store")
    release = open_release(str(store))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "record_left_out", killed)
        with pytest.raises(KeyboardInterrupt):
            update(tomorrow, store, report)
    assert open_release(str(store)).manifest == release.manifest
    assert update(tomorrow, store, report).id == open_release(str(store)).id != release.id


def test_data_that_cannot_follow_are_refused(
    store: Path, tiny_dataset: Dataset, after: Release, report: ProgressReport
):
    """Another shop's data, and data that end before the release's last event, are named."""
    assert after.id
    other = tiny_dataset.report.model_copy(update={"source": "another"})
    with pytest.raises(InvalidRequest, match="of tiny shop, not of another"):
        update(Dataset(tiny_dataset.items, tiny_dataset.events, None, other), store, report)
    with pytest.raises(InvalidRequest, match="give all events"):
        update(tiny_dataset, store, report)


@pytest.mark.parametrize("recipe", ["seasons", "sequences", "catalogue"])
def test_every_recipe_can_be_updated(
    recipe: str,
    tiny_settings: BuildSettings,
    tiny_dataset: Dataset,
    tomorrow: Dataset,
    tmp_path: Path,
    report: ProgressReport,
):
    """The recipe's own tables are counted, its words indexed, and both stages load what comes of it."""
    settings = BuildSettings.from_recipe(
        recipe,
        base_model=tiny_settings.base_model,
        window_days=10,
        candidates=40,
        training_requests=60,
        cross_encoder_lists=8,
        list_size=6,
        cross_encoder=tiny_settings.cross_encoder,
        trees=5,
        boosters=1,
        cross_encoder_depth=0,
    )
    before = build(tiny_dataset, tmp_path, settings, report, force=True)
    after = update(tomorrow, tmp_path, report, force=True)
    assert after.id != before.id
    SecondStage.load(after).close()
    with closing(FirstStage.load(after)) as stage:
        found = stage.retrieve([Request(query="white candle towel", limit=300)])[0]
    assert "a-new-item" in found.item_ids
