"""An HNSW graph that has lost the links to some vectors, as hnswlib's does after many changes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from common.arrays import Float32Array, RowIndices
from services.retrieval.ann.ann_index import AnnKind, IndexOptions
from services.retrieval.ann.hnswlib_hnsw import HnswlibHnsw
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.vector_storage import VectorStorage


class LossyHnsw:
    """hnswlib's graph, except that no search finds some labels; implements `AnnIndex`.

    Args:
        graph: The graph.
        lost: Labels that no search finds.
        heals: Whether a label is found again once it was inserted again.
        stays_lossy: Whether a rebuilt graph loses the same labels.
    """

    kind: AnnKind = "hnsw"
    is_graph: Final = True
    file_name: Final = HnswlibHnsw.file_name
    rows_per_candidate: Final = HnswlibHnsw.rows_per_candidate

    def __init__(
        self, graph: HnswlibHnsw, lost: Iterable[int], *, heals: bool = False, stays_lossy: bool = False
    ) -> None:
        self._graph = graph
        self._lost = set(lost)
        self._heals = heals
        self._stays_lossy = stays_lossy

    def candidates_needed(self, k: int) -> int:
        """See `AnnIndex.candidates_needed`."""
        return self._graph.candidates_needed(k)

    def __len__(self) -> int:
        return len(self._graph)

    def set_ef_search(self, ef_search: int) -> None:
        """See `AnnIndex.set_ef_search`."""
        self._graph.set_ef_search(ef_search)

    def search(self, vectors: Float32Array, k: int) -> tuple[RowIndices, Float32Array | None] | None:
        """Find the nearest that are not lost; see `AnnIndex.search`."""
        found = self._graph.search(vectors, min(len(self._graph), k + len(self._lost)))
        if found is None or found[1] is None:
            return None
        labels, scores = found[0], found[1]
        is_kept = ~np.isin(labels, list(self._lost))
        if (is_kept.sum(axis=1) < k).any():
            return None
        columns = np.argsort(~is_kept, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(labels, columns, axis=1), np.take_along_axis(scores, columns, axis=1)

    def add(self, labels: RowIndices, vectors: Float32Array, threads: int = 1) -> None:
        """Insert vectors; see `AnnIndex.add`."""
        self._graph.add(labels, vectors, threads)
        if self._heals:
            self._lost -= set(labels.tolist())

    def remove(self, labels: RowIndices) -> None:
        """See `AnnIndex.remove`."""
        self._graph.remove(labels)

    def new_empty(self, capacity: int) -> LossyHnsw:
        """Return an empty graph that loses nothing, or the same again; see `AnnIndex.new_empty`."""
        lost = self._lost if self._stays_lossy else ()
        return LossyHnsw(self._graph.new_empty(capacity), lost, stays_lossy=self._stays_lossy)

    def save(self, folder: Path) -> None:
        """See `AnnIndex.save`."""
        self._graph.save(folder)


def lossy_index(
    vectors: Float32Array,
    lost: Iterable[int],
    options: IndexOptions,
    *,
    heals: bool = False,
    stays_lossy: bool = False,
) -> HybridIndex:
    """Return an index over unit vectors whose graph has lost some; see `LossyHnsw`."""
    graph = HnswlibHnsw.empty(vectors.shape[1], len(vectors), options)
    graph.add(np.arange(len(vectors)), vectors, options.threads)
    ann = LossyHnsw(graph, lost, heals=heals, stays_lossy=stays_lossy)
    return HybridIndex(ann, VectorStorage(vectors), options.ef_search)
