"""Releases of the first stage with up to a million vectors; each size is a prefix of the next.

The vectors are mixtures of real ones: the vector of one of Home Depot's titles, plus three tenths of the difference of
two others. So they spread in the directions in which titles differ, about as near to one another as titles are. The
graph of each size is a state of the same graph while it grew.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import hnswlib
import numpy as np
import pyarrow as pa
from rich.console import Console

from benchmarks.data.home_depot_vectors import CACHE, HomeDepotVectors, home_depot_vectors
from common.arrays import Float32Array, unit_vectors
from common.release import layout
from common.release.catalogue import SCHEMA, Catalogue
from common.release.manifest import DataCard
from common.release.store import Release, open_release
from pipeline.release.artifacts.staging import Staging, staging_dir
from services.retrieval.ann.ann_index import IndexOptions

SIZES: Final = (10_000, 30_000, 100_000, 300_000, 1_000_000)
_SPREAD: Final = 0.3
_CHUNK: Final = 50_000
# A stopped build continues from the last state that was saved.
_SAVE_EVERY: Final = 100_000
_FORMAT: Final = 2


def million_releases(console: Console, sizes: Sequence[int] = SIZES) -> tuple[HomeDepotVectors, dict[int, Release]]:
    """Return a release of each size; they are built unless cached. A million takes two cores some minutes.

    Returns:
        The real titles with their queries, and the releases.

    Raises:
        MissingData: The titles are missing.
    """
    titles = home_depot_vectors(console)
    folder = CACHE / f"million-{_FORMAT}-{titles.hnsw.id}"
    folder.mkdir(parents=True, exist_ok=True)
    vectors = _vectors(folder / "vectors.npy", titles.vectors)
    return titles, {size: _release(folder, titles, vectors, size, console) for size in sizes}


def build_s(release: Release) -> float:
    """Return the seconds that building the graph took: processor seconds divided by the number of processors."""
    return float(release.manifest.metrics["graph_built_s"])


def _vectors(file: Path, titles: Float32Array) -> Float32Array:
    if not file.exists():
        new_file, generator = file.with_suffix(".new.npy"), np.random.default_rng(7)
        table = np.lib.format.open_memmap(new_file, "w+", np.float32, (SIZES[-1], titles.shape[1]))
        for start in range(0, len(table), _CHUNK):
            parents, one, other = generator.integers(len(titles), size=(3, _CHUNK))
            table[start : start + _CHUNK] = unit_vectors(titles[parents] + _SPREAD * (titles[one] - titles[other]))
        table.flush()
        new_file.replace(file)
    return np.asarray(np.load(file, mmap_mode="r"))


def _release(folder: Path, titles: HomeDepotVectors, vectors: Float32Array, size: int, console: Console) -> Release:
    store = folder / f"release-{size}"
    if not (store / "CURRENT").exists():
        graph, built_s = _graph(folder, vectors, size, console)
        with staging_dir(store) as place:
            card = DataCard(source="mixtures", fingerprint=folder.name, items=size, events=0, licence="research use")
            staging = Staging(place, card, folder.name, {"benchmark": "million_releases", "size": size})
            staging.metrics["graph_built_s"] = built_s
            _write(staging, titles, vectors[:size], graph)
            staging.publish(store)
    return open_release(str(store))


def _write(staging: Staging, titles: HomeDepotVectors, vectors: Float32Array, graph: Path) -> None:
    for name in (layout.ENCODER, layout.ENCODER_TOKENIZER):
        os.link(titles.release.file(name), staging.file(name))
    staging.models["encoder"] = titles.release.manifest.models["encoder"]
    os.link(graph, staging.file(layout.HNSW_INDEX))
    np.save(staging.file(layout.VECTORS), vectors)
    np.save(staging.file(layout.VECTOR_OF_ITEM), np.arange(len(vectors), dtype=np.int32))
    np.save(staging.file(layout.POPULARITY), np.zeros(len(vectors), np.float32))
    _catalogue(titles.catalogue(), len(vectors)).save(staging.file(layout.CATALOGUE))
    staging.write_json(layout.RETRIEVAL_SETTINGS, {"sources": {"semantic": {}}})


def _catalogue(titles: Catalogue, size: int) -> Catalogue:
    """Return a catalogue that repeats the titles; tokens for the cross-encoder are left out."""
    names = titles.table["title"].to_pylist()
    texts = [f"{names[number % len(names)]}, variant {number}" for number in range(size)]
    columns = {
        "item_id": [f"item-{number}" for number in range(size)],
        "title": texts,
        "price": np.random.default_rng(8).uniform(1, 500, size).round(2),
        "available": np.ones(size, dtype=np.bool_),
        "text": texts,
        "token_ids": pa.array([[]] * size, pa.list_(pa.int32())),
    }
    nothing = {name: pa.nulls(size, SCHEMA.field(name).type) for name in SCHEMA.names if name not in columns}
    return Catalogue(pa.table(columns | nothing).select(SCHEMA.names).cast(SCHEMA))


def _graph(folder: Path, vectors: Float32Array, size: int, console: Console) -> tuple[Path, float]:
    """Grow the graph to ``size`` from the largest saved state; returns its file and the seconds that it took."""
    states = {int(file.stem.removeprefix("graph-")): file for file in folder.glob("graph-*.bin")}
    begin = max((count for count in states if count <= size), default=0)
    options = IndexOptions()
    graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
    if begin:
        graph.load_index(str(states[begin]), max_elements=size)
    else:
        graph.init_index(size, options.m, options.ef_construction, random_seed=options.seed)
    built_s = json.loads(_seconds(folder, begin).read_text()) if begin else 0.0
    cores = len(os.sched_getaffinity(0))
    while begin < size:
        end = min(size, begin + _SAVE_EVERY)
        began = time.process_time()  # wall-clock time would count other processes
        graph.add_items(vectors[begin:end], np.arange(begin, end), num_threads=cores)
        built_s += (time.process_time() - began) / cores
        begin = end
        _save(graph, folder, end, built_s)
        console.print(f"  {end:,} of {size:,} vectors in the graph after {built_s:.0f} s")
    return folder / f"graph-{size}.bin", built_s


def _save(graph: hnswlib.Index, folder: Path, count: int, built_s: float) -> None:
    new_file = folder / "graph.new"
    graph.save_index(str(new_file))
    _seconds(folder, count).write_text(json.dumps(built_s))
    new_file.replace(folder / f"graph-{count}.bin")
    for file in folder.glob("graph-*.bin"):  # saved states between the sizes
        reached = int(file.stem.removeprefix("graph-"))
        if reached < count and reached not in SIZES:
            file.unlink()


def _seconds(folder: Path, count: int) -> Path:
    return folder / f"graph-{count}.json"


if __name__ == "__main__":
    million_releases(Console())
