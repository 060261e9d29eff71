"""What is the recall of the first stage against exact search? Real queries, filters, a changing catalogue."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.data.home_depot_vectors import HomeDepotVectors, home_depot_vectors
from benchmarks.harness.record import Result, Threshold, at_least, at_most
from benchmarks.retrieval.index_types import compare_index_types, index_types_table
from common.arrays import BoolMask, Float32Array, RowIndices
from common.filters import Filter, Range
from common.onnx_session import SessionOptions
from services.retrieval.ann.ann_index import AnnKind
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.index.reachability import TIE

K: Final = 100
_QUERIES: Final = 1_000
_QUICK_QUERIES: Final = 100
_SHARES: Final = (1, 10, 50)
_CHANGED_SHARE: Final = 0.2
_CALL_ITEMS: Final = 500


def run(quick: bool, console: Console, index: AnnKind = "hnsw") -> Result:
    """Measure recall@100 at the default setting; quick takes fewer queries."""
    data = home_depot_vectors(console, index)
    queries = data.query_vectors[np.random.default_rng(0).permutation(len(data.query_vectors))]
    queries = queries[: _QUICK_QUERIES if quick else _QUERIES]
    with tempfile.TemporaryDirectory() as folder:
        feed = LocalFeed(Path(folder))
        stage = FirstStage.load(data.release, FirstStageOptions(session=SessionOptions(threads=1)), feed)
        try:
            figures = _by_filter(stage, queries)
            before = figures["no filter"]["recall"]
            figures |= _after_changes(stage, data, queries)
        finally:
            stage.close()
            feed.close()
    index_types = compare_index_types(data, queries, K, console)
    return Result(
        {"queries": len(queries), "k": K, "index_types": index_types} | figures,
        _thresholds(figures, before),
        [_table(figures), index_types_table(index_types, K)],
    )


def _thresholds(figures: Mapping[str, Mapping[str, Any]], before: float) -> list[Threshold]:
    after = figures["after 20 % were deleted and inserted again"]
    measured = [name for name in figures if name == "no filter" or "pass" in name]
    return [
        *(at_least(f"recall@{K}, {name}", 0.985, figures[name]["recall"]) for name in measured),
        at_most(
            "recall lost by deleting and inserting 20 % of the items during searches", 0.005, before - after["recall"]
        ),
        at_most("searches that failed or found too few meanwhile", 0, after["failed"]),
    ]


def _by_filter(stage: FirstStage, queries: Float32Array) -> dict[str, dict[str, Any]]:
    conditions: dict[str, Filter | None] = {"no filter": None}
    conditions |= {f"{share} % pass": Range("aisle", maximum=share - 1) for share in _SHARES}
    return {name: _measure(stage, queries, condition) for name, condition in conditions.items()}


def _measure(stage: FirstStage, queries: Float32Array, condition: Filter | None) -> dict[str, Any]:
    answers = _retrieve(stage, queries, condition)
    allowed = stage.item_filter.allowed(stage.snapshot, condition).rows
    paths = {path for answer in answers for path in answer.paths.values()}
    return {"recall": recall(stage, queries, answers, allowed), "path": "/".join(sorted(paths))}


def _retrieve(stage: FirstStage, queries: Float32Array, condition: Filter | None) -> list[Candidates]:
    return stage.retrieve([Request(vector=query, limit=K, sources=["semantic"], filter=condition) for query in queries])


def recall(stage: FirstStage, queries: Float32Array, answers: Sequence[Candidates], allowed: BoolMask) -> float:
    """Return the share of found items that are among the nearest allowed ones, ties included.

    Items that share a title are equally near, so it does not matter which of them is found.
    """
    rows = np.flatnonzero(allowed)
    vectors = stage._item_search.vectors_of(stage.snapshot, rows)  # noqa: SLF001 - the vectors as they are searched
    shares = []
    for query, answer in zip(queries, answers, strict=True):
        scores = vectors @ query
        k = min(K, len(rows))
        last = np.partition(scores, len(rows) - k)[len(rows) - k]
        shares.append(_share(scores, last, rows, answer.rows, k))
    return float(np.mean(shares))


def _share(scores: Float32Array, last: float, rows: RowIndices, found: RowIndices, k: int) -> float:
    near = rows[scores >= last - TIE]
    return min(k, int(np.isin(found, near).sum())) / k


def _after_changes(stage: FirstStage, data: HomeDepotVectors, queries: Float32Array) -> dict[str, dict[str, Any]]:
    """Delete 20 % of the items and insert them again during searches, then measure again."""
    failed: list[str] = []
    done = threading.Event()
    searcher = threading.Thread(target=_search_until, args=(stage, queries, done, failed))
    searcher.start()
    items = _changing_items(data)
    for start in range(0, len(items), _CALL_ITEMS):
        stage.writer.delete([item.item_id for item in items[start : start + _CALL_ITEMS]])
    deleted = len(data.catalogue()) - stage.snapshot.item_count
    for start in range(0, len(items), _CALL_ITEMS):
        stage.writer.upsert(items[start : start + _CALL_ITEMS])
    done.set()
    searcher.join()
    stage.wait_for_maintenance()
    after = _measure(stage, queries, None) | {
        "deleted": deleted,
        "failed": len(failed),
        "items": stage.snapshot.item_count,
    }
    half = _measure(stage, queries, Range("price", maximum=0.5))
    return {"after 20 % were deleted and inserted again": after, "and a price that half of those have": half}


def _changing_items(data: HomeDepotVectors) -> list[Item]:
    """Sample the items that change; they keep their titles and vectors, and get prices between 0 and 1."""
    catalogue, vectors = data.catalogue(), data.vectors
    generator = np.random.default_rng(2)
    rows = generator.permutation(len(catalogue))[: int(_CHANGED_SHARE * len(catalogue))]
    owner = np.load(data.release.file("index/vector_of_item.npy"))
    return [
        Item(catalogue.item_ids[row], catalogue.title(row), price=float(generator.random()), vector=vectors[owner[row]])
        for row in rows.tolist()
    ]


def _search_until(stage: FirstStage, queries: Float32Array, done: threading.Event, failed: list[str]) -> None:
    number = 0
    while not done.is_set():
        try:
            answer = _retrieve(stage, queries[number % len(queries)][np.newaxis], None)[0]
        except Exception as error:  # noqa: BLE001 - every error is counted
            failed.append(repr(error))
        else:
            found = answer.snapshot.is_live[answer.rows]
            if len(found) < K or not found.all():
                failed.append(f"{int(found.sum())} live items")
        number += 1


def _table(figures: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table("items", f"recall@{K}", "search", title="Home Depot titles, against exact search")
    for name, found in figures.items():
        table.add_row(name, f"{found['recall']:.4f}", found["path"])
    return table
