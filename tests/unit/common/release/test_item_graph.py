"""Item-to-item tables against a dense oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadRelease
from common.release.item_graph import ItemGraph
from common.release.layout import graph_file
from common.release.manifest import DataCard, FileEntry, Manifest
from common.release.store import Release

WEIGHTS = st.floats(-8, 8, width=16)

CALLS = st.integers(0, 7).flatmap(
    lambda items: st.tuples(
        st.lists(
            st.lists(st.tuples(st.integers(0, max(items - 1, 0)), WEIGHTS), max_size=5 if items else 0),
            min_size=items,
            max_size=items,
        ),
        st.lists(st.tuples(st.integers(-2, items + 2), WEIGHTS), max_size=12),
    )
)

Entries = list[list[tuple[int, float]]]


def graph_of(entries: Entries) -> ItemGraph:
    """Return the CSR form of neighbours by item."""
    flat = [pair for row in entries for pair in row]
    return ItemGraph(
        indptr=np.cumsum([0, *(len(row) for row in entries)]).astype(np.int64),
        indices=np.array([item for item, _ in flat], dtype=np.int32),
        weights=np.array([weight for _, weight in flat], dtype=np.float32),
    )


@given(CALLS)
def test_spread_is_a_product_with_the_dense_table(call: tuple[Entries, list[tuple[int, float]]]):
    """Spreading rows equals the weighted sum of the dense table's rows; rows outside of the table add nothing."""
    entries, rows = call
    items = len(entries)
    dense = np.zeros((items, items))
    for row, neighbours in enumerate(entries):
        for item, weight in neighbours:
            dense[row, item] += weight
    expected = np.zeros(items)
    for row, weight in rows:
        if 0 <= row < items:
            expected += weight * dense[row]

    scores = graph_of(entries).weighted_sum(
        np.array([row for row, _ in rows], dtype=np.int64), np.array([weight for _, weight in rows], dtype=np.float32)
    )

    assert scores.shape == (items,)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-3)


def release_with(folder: Path, files: list[str]) -> Release:
    """Return a release that lists ``files``."""
    data = DataCard(source="t", fingerprint="f", items=1, events=1, licence="CC0-1.0")
    listed = {name: FileEntry(bytes=0, sha256="") for name in files}
    manifest = Manifest(
        release_id="r",
        created_at="2026-01-02",
        build_key="",
        data=data,
        models={},
        settings={},
        metrics={},
        files=listed,
    )
    return Release(folder, manifest)


def test_a_graph_survives_saving(tmp_path: Path):
    """A graph that was saved into a release's folder is loaded equal, as memory maps."""
    graph = graph_of([[(1, 0.5)], [(0, 2.0), (1, 1.0)]])
    graph.save(tmp_path, "bought_next")
    names = [graph_file("bought_next", part) for part in ("indptr", "indices", "weights")]

    loaded = ItemGraph.from_release(release_with(tmp_path, names), "bought_next")

    assert loaded.items == 2
    assert isinstance(loaded.weights, np.memmap)
    np.testing.assert_array_equal(loaded.weights, graph.weights)
    np.testing.assert_array_equal(loaded.indices, graph.indices)


def test_a_graph_that_the_release_lacks_is_named(tmp_path: Path):
    """Loading a graph that is not in the release is BadRelease and names the file."""
    with pytest.raises(BadRelease, match="bought_next/indptr"):
        ItemGraph.from_release(release_with(tmp_path, []), "bought_next")


def test_several_weightings_are_spread_as_each_alone():
    """Spreading several weightings at once gives what each gives by itself, unknown rows left out."""
    graph = graph_of([[(1, 0.5)], [(0, 2.0), (1, 1.0)]])
    rows, weights = np.array([1, -1, 0]), np.array([[1, 1, 1], [0.5, 9, 0]], np.float32)
    expected = [graph.weighted_sum(rows, each) for each in weights]
    np.testing.assert_array_equal(graph.weighted_sums(rows, weights), expected)
    assert graph.weighted_sums(rows[1:2], weights[:, 1:2]).shape == (2, 2)


def test_saving_anew_leaves_what_is_mapped(tmp_path: Path):
    """Whoever has mapped a graph keeps it when another one is written in its place."""
    names = [graph_file("it", part) for part in ("indptr", "indices", "weights")]
    graph_of([[(0, 1.0)]]).save(tmp_path, "it")
    mapped = ItemGraph.from_release(release_with(tmp_path, names), "it")
    graph_of([[(0, 7.0)]]).save(tmp_path, "it")
    assert mapped.weights.tolist() == [1.0]
