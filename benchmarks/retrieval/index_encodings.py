"""What is lost and saved where a graph holds float16 or int8, or codes are scanned instead? Home Depot's titles."""

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

from benchmarks.data.home_depot_vectors import CACHE, HomeDepot
from common.arrays import Float32Array
from common.release.layout import VECTORS
from common.release.store import Release
from services.retrieval.ann.ann_index import HnswOptions, VectorEncoding
from services.retrieval.ann.factory import load_ann_index, new_ann_index
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.reachability import TIE

_NUMBERS: Final[tuple[VectorEncoding, ...]] = ("float32", "float16", "int8", "codes")
# Rounds of every graph in turn, so that whatever else runs meets all of them.
_ROUNDS: Final = 3
_CHUNK: Final = 200
# Grows with whatever changes the graphs that are kept from earlier runs.
_FORMAT: Final = 1


def by_numbers(
    data: HomeDepot, queries: Float32Array, k: int, console: Console
) -> dict[VectorEncoding, dict[str, Any]]:
    """Measure what searches in each kind of numbers, at the default setting, each behind the same table of float32.

    Returns:
        For each kind: recall of ``k``, the graph's bytes an item, in resident memory and in its file, and the
        microseconds of processor time that a search takes, what is compared by the table included.
    """
    folders = {numbers: _graph(data.graph, numbers, console) for numbers in _NUMBERS}
    exact = FlatIndex.load(data.graph.path)
    rows, dimension = exact.rows, exact.dimension
    indexes = {
        numbers: HybridIndex(load_ann_index(folder, dimension), exact, HnswOptions.ef_search)
        for numbers, folder in folders.items()
    }
    least = last_scores(data.vectors, queries, k)
    spent: dict[VectorEncoding, list[float]] = {numbers: [] for numbers in _NUMBERS}
    found: dict[VectorEncoding, Float32Array] = {}
    for _ in range(_ROUNDS):
        for numbers, index in indexes.items():
            found[numbers], took_s = _search(index, queries, k)
            spent[numbers].append(took_s)
    return {
        numbers: {
            "recall": float(np.mean((found[numbers] >= least[:, np.newaxis] - TIE).mean(axis=1))),
            "resident_bytes_per_item": round(_resident_bytes(folder, dimension) / rows, 1),
            "file_bytes_per_item": round((folder / indexes[numbers].file).stat().st_size / rows, 1),
            "us_per_search": round(float(np.median(spent[numbers])) / len(queries) * 1e6, 1),
        }
        for numbers, folder in folders.items()
    }


def table_of(figures: Mapping[VectorEncoding, Mapping[str, Any]], k: int) -> Table:
    """Return the figures as a table."""
    title = f"What is searched; float32 beside it, mapped, takes {4 * 384:,} bytes an item in each"
    table = Table("numbers", f"recall@{k}", "resident B/item", "file B/item", "µs/search", title=title)
    for numbers, found in figures.items():
        sizes = (f"{found[f'{where}_bytes_per_item']:,.0f}" for where in ("resident", "file"))
        table.add_row(numbers, f"{found['recall']:.4f}", *sizes, f"{found['us_per_search']:.0f}")
    return table


def _graph(release: Release, numbers: VectorEncoding, console: Console) -> Path:
    """Return a folder with the graph: the release's own, or one that was built of its vectors as that was."""
    if numbers == "float32":
        return release.path
    folder = CACHE / f"{release.path.parent.name}-{numbers}-{_FORMAT}"
    if not folder.exists():
        console.print(f"Building the graph of {numbers} …")
        vectors = np.load(release.file(VECTORS))
        graph = new_ann_index(vectors, HnswOptions(vectors=numbers))
        graph.add(np.arange(len(vectors)), vectors)
        new = folder.with_suffix(".new")
        (new / "index").mkdir(parents=True, exist_ok=True)
        graph.save(new)
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
    """Return what a graph adds to the resident memory of a process of its own that loads it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        return alone.submit(_grown_by_loading, folder, dimension).result()


def _grown_by_loading(folder: Path, dimension: int) -> int:
    import faiss  # noqa: PLC0415, F401 - the library's own memory is none of the graph's

    before = _resident()
    graph = load_ann_index(folder, dimension)
    grown = _resident() - before
    del graph
    return grown


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
