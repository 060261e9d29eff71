"""HNSW compared with PQ on Home Depot's titles: recall, memory, file size and processor time."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.data.home_depot_vectors import CACHE, HomeDepotVectors
from common.arrays import Float32Array
from common.release.layout import VECTORS
from common.release.store import Release
from services.retrieval.ann.ann_index import AnnKind, IndexOptions
from services.retrieval.ann.factory import load_ann_index, new_ann_index
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.reachability import TIE
from services.retrieval.index.vector_storage import VectorStorage

_KINDS: Final[tuple[AnnKind, ...]] = ("hnsw", "pq")
# Each round searches every index in turn, so that other load affects all of them.
_ROUNDS: Final = 3
_CHUNK: Final = 200
# Raise it when cached indexes of earlier runs must be built again.
_FORMAT: Final = 1


def compare_index_types(
    data: HomeDepotVectors, queries: Float32Array, k: int, console: Console
) -> dict[AnnKind, dict[str, Any]]:
    """Measure each index at the default settings, over the same vectors.

    Returns:
        For each kind: recall of ``k``, the index's bytes per item in resident memory and in its file, and the
        microseconds of processor time of a search, exact comparison of candidates included.
    """
    folders = {kind: _index_folder(data.hnsw, kind, console) for kind in _KINDS}
    storage = VectorStorage.load(data.hnsw.path)
    rows, dimension = storage.row_count, storage.dimension
    indexes = {
        kind: HybridIndex(load_ann_index(folder, dimension), storage, IndexOptions.ef_search)
        for kind, folder in folders.items()
    }
    min_scores = last_scores(data.vectors, queries, k)
    processor_s: dict[AnnKind, list[float]] = {kind: [] for kind in _KINDS}
    found: dict[AnnKind, Float32Array] = {}
    for _ in range(_ROUNDS):
        for kind, index in indexes.items():
            found[kind], took_s = _search(index, queries, k)
            processor_s[kind].append(took_s)
    return {
        kind: {
            "recall": float(np.mean((found[kind] >= min_scores[:, np.newaxis] - TIE).mean(axis=1))),
            "resident_bytes_per_item": round(_resident_bytes(folder, dimension) / rows, 1),
            "file_bytes_per_item": round((folder / indexes[kind].file_name).stat().st_size / rows, 1),
            "us_per_search": round(float(np.median(processor_s[kind])) / len(queries) * 1e6, 1),
        }
        for kind, folder in folders.items()
    }


def index_types_table(figures: Mapping[AnnKind, Mapping[str, Any]], k: int) -> Table:
    """Return the figures as a table."""
    title = f"Indexes; the memory-mapped vectors take {4 * 384:,} bytes per item with each"
    table = Table("index", f"recall@{k}", "resident B/item", "file B/item", "µs/search", title=title)
    for kind, found in figures.items():
        sizes = (f"{found[f'{where}_bytes_per_item']:,.0f}" for where in ("resident", "file"))
        table.add_row(kind, f"{found['recall']:.4f}", *sizes, f"{found['us_per_search']:.0f}")
    return table


def _index_folder(release: Release, kind: AnnKind, console: Console) -> Path:
    """Return a folder with the index: the release's own, or one built from its vectors with the same options."""
    if kind == "hnsw":
        return release.path
    folder = CACHE / f"{release.path.parent.name}-{kind}-{_FORMAT}"
    if not folder.exists():
        console.print(f"Building the {kind} index …")
        vectors = np.load(release.file(VECTORS))
        index = new_ann_index(vectors, IndexOptions(kind=kind))
        index.add(np.arange(len(vectors)), vectors)
        new = folder.with_suffix(".new")
        (new / "index").mkdir(parents=True, exist_ok=True)
        index.save(new)
        new.rename(folder)
    return folder


def last_scores(vectors: Float32Array, queries: Float32Array, k: int) -> Float32Array:
    """Return each query's k-th highest inner product; shape [queries]."""
    parts = [queries[start : start + _CHUNK] @ vectors.T for start in range(0, len(queries), _CHUNK)]
    return np.concatenate([np.partition(scores, -k, axis=1)[:, -k] for scores in parts])


def _search(index: HybridIndex, queries: Float32Array, k: int) -> tuple[Float32Array, float]:
    """Search one query at a time; returns the scores, shape [queries, k], and the seconds of processor time."""
    began = time.thread_time()
    scores = [index.search(query[np.newaxis], k).scores for query in queries]
    return np.concatenate(scores), time.thread_time() - began


def _resident_bytes(folder: Path, dimension: int) -> int:
    """Return the resident memory that loading an index takes, measured in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        return alone.submit(_grown_by_loading, folder, dimension).result()


def _grown_by_loading(folder: Path, dimension: int) -> int:
    import faiss  # noqa: PLC0415, F401 - the library's own memory is not the index's

    before = _resident()
    index = load_ann_index(folder, dimension)
    grown = _resident() - before
    del index
    return grown


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
