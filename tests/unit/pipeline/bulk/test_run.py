"""Embedding and scoring tables of any size."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from rich.console import Console

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE, VECTOR_OF_ITEM, VECTORS
from common.release.store import Release, open_release
from pipeline.bulk.job import BulkJob
from pipeline.bulk.run import run_bulk
from pipeline.bulk.tasks import Embed, Score, Task
from pipeline.data.dataset.schema import BadDataset
from pipeline.progress import ProgressReport
from services.ranking.cascade.results import RequestedDepths
from services.ranking.cascade.second_stage import SecondStage
from services.ranking.request import CallContext, CandidateRows, UserRows

QUIET = ProgressReport(Console(quiet=True))


@pytest.fixture(scope="module")
def release(tiny_release: Path) -> Release:
    return open_release(str(tiny_release))


@pytest.fixture
def items(tmp_path: Path, tiny_items: pl.DataFrame) -> Path:
    """Return a folder with the tiny shop's items in two files, the second of two row groups."""
    (tmp_path / "items").mkdir()
    tiny_items[:100].write_parquet(tmp_path / "items/a.parquet")
    tiny_items[100:].write_parquet(tmp_path / "items/b.parquet", row_group_size=90)
    return tmp_path / "items"


def _run(task: type[Task], release: Release, source: Path, out: Path, batch: int = 37) -> pl.DataFrame:
    rows = run_bulk(BulkJob(task, str(release.path), source, out, batch), "process", "", QUIET)
    found = pl.read_parquet(out)
    assert found.height == rows
    return found


def test_items_get_the_vectors_that_the_index_has(
    release: Release, items: Path, tiny_items: pl.DataFrame, tmp_path: Path
):
    """In the order of the rows, each item's vector is the release's own."""
    found = _run(Embed, release, items, tmp_path / "out")
    assert found["item_id"].to_list() == tiny_items["item_id"].to_list()
    rows = Catalogue.open(release.file(CATALOGUE)).rows_of(found["item_id"].to_list())
    here = np.load(release.file(VECTORS))[np.load(release.file(VECTOR_OF_ITEM))[rows[rows >= 0]]]
    np.testing.assert_allclose(found["vector"].to_numpy()[rows >= 0], here, atol=1e-6)


def test_pairs_get_the_logits_that_are_served(release: Release, tiny_items: pl.DataFrame, tmp_path: Path):
    """Each row keeps its columns and gets the logit that the second stage gives the item for that user."""
    ids = tiny_items["item_id"].to_list()
    history = ids[:3]
    pairs = pl.DataFrame({"item_id": ids[5:45] * 2, "query": ["red milk"] * 40 + [None] * 40, "note": range(80)})
    history_of = [["unknown", *history]] * 40 + [None] * 40
    pairs.with_columns(pl.Series("history", history_of)).write_parquet(tmp_path / "pairs.parquet")
    found = _run(Score, release, tmp_path / "pairs.parquet", tmp_path / "out")
    assert found.drop("logit").equals(pl.read_parquet(tmp_path / "pairs.parquet"))
    for rows, query, known in ((slice(0, 40), "red milk", history), (slice(40, 80), "", [])):
        served = asyncio.run(_served(release, query, known, found["item_id"][rows].to_list()))
        np.testing.assert_allclose(found["logit"][rows].to_numpy(), served, atol=1e-5)


async def _served(release: Release, query: str, history: list[str], items: list[str]) -> Any:
    second = SecondStage.load(release)
    rows = second.catalogue.rows_of
    user, candidates = UserRows(rows(history), query), CandidateRows.from_rows(rows(items))
    ranked = await second.rank(
        user, candidates, {}, RequestedDepths(cross_encoder=len(items)), CallContext(time.monotonic() + 60)
    )
    second.close()
    return ranked.logit


def test_items_of_no_release_are_scored_by_their_text(release: Release, tiny_items: pl.DataFrame, tmp_path: Path):
    """A row's own text is read before the catalogue's; without any text the logit is missing, and the row stays."""
    catalogue = Catalogue.open(release.file(CATALOGUE))
    known, other = tiny_items["item_id"].to_list()[:2]
    text = catalogue.text(int(catalogue.rows_of([known])[0]))
    ids = [known, "new", "new", other, "nothing"]
    texts = [None, text, "blue soap", text, None]
    pl.DataFrame({"item_id": ids, "text": texts, "query": ["milk"] * 5}).write_parquet(tmp_path / "pairs.parquet")
    logits = _run(Score, release, tmp_path / "pairs.parquet", tmp_path / "out")["logit"].to_list()
    assert logits[0] == pytest.approx(logits[1], abs=1e-6) == pytest.approx(logits[3], abs=1e-6)
    assert logits[2] != pytest.approx(logits[0], abs=1e-6)
    assert logits[4] is None


class Counting(Task):
    """Notes how large the batches are."""

    def __init__(self, release: str, threads: int = 0) -> None:
        del release, threads
        self.seen: list[int] = []

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Count the rows."""
        self.seen.append(batch.num_rows)
        return pa.table({"largest": [max(self.seen)] * batch.num_rows})


def test_no_more_than_a_batch_is_held(release: Release, items: Path, tmp_path: Path):
    """Tasks see batches of the asked size at most, however large the table."""
    assert _run(Counting, release, items, tmp_path / "out", batch=16)["largest"].max() == 16


def test_results_appear_whole_or_not_at_all(release: Release, tmp_path: Path):
    """Where a batch fails nothing is left behind, and the message names what is missing."""
    pl.DataFrame({"sku": ["a"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(BadDataset, match="no column item_id, title; it has sku"):
        _run(Embed, release, tmp_path / "items.parquet", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["items.parquet"]


def test_results_are_never_overwritten(release: Release, items: Path, tmp_path: Path):
    """A folder that exists is refused before anything is read."""
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidRequest, match="out exists"):
        _run(Embed, release, items, tmp_path / "out")


@pytest.mark.parametrize(("name", "said"), [("nowhere", "does not exist"), ("empty", "has no row")])
def test_missing_files_are_named(release: Release, tmp_path: Path, name: str, said: str):
    """A path without Parquet files is refused and says what to name."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadDataset, match=said):
        _run(Embed, release, tmp_path / name, tmp_path / "out")


def test_a_file_that_is_no_parquet_is_refused(release: Release, tmp_path: Path):
    """A file of another kind is refused by name."""
    (tmp_path / "items.csv").write_text("item_id,title\n1,milk\n")
    with pytest.raises(BadDataset, match=r"items\.csv cannot be read as Parquet"):
        _run(Embed, release, tmp_path / "items.csv", tmp_path / "out")


def test_an_address_without_ray_is_refused(release: Release, items: Path, tmp_path: Path):
    """An address that would be ignored is an error."""
    with pytest.raises(InvalidRequest, match="--workers ray"):
        run_bulk(BulkJob(Embed, str(release.path), items, tmp_path / "out"), "process", "127.0.0.1:6379", QUIET)


def test_without_ray_the_extra_is_named(release: Release, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where Ray is not installed, the message says what to install."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidRequest, match="extra `scale`"):
        run_bulk(BulkJob(Embed, str(release.path), items, tmp_path / "out"), "ray", "", QUIET)
