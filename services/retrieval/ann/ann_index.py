"""The port of approximate nearest-neighbour search: what `HybridIndex` needs of hnswlib's or faiss's index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

from common.arrays import Float32Array, RowIndices

# What a build may be asked for: HNSW over float32 by hnswlib, or 4-bit product quantisation scanned by faiss.
AnnKind = Literal["hnsw", "pq"]
# What searches a release's vectors.
IndexType = Literal["exact", "hnsw", "pq", "milvus"]


@dataclass(frozen=True)
class IndexOptions:
    """How an index is built and searched.

    Attributes:
        m: HNSW's links of a vector on each layer above the lowest, which has twice as many
            (Malkov and Yashunin, https://arxiv.org/abs/1603.09320).
        ef_construction: Length of HNSW's candidate list while it is built.
        ef_search: Length of HNSW's candidate list while it is searched: recall against time. PQ compares about as many
            vectors exactly.
        threads: Threads that build, 0 for every core; with more than one, HNSW differs from build to build.
        seed: Of HNSW's layers and of PQ's training sample.
        kind: Which index.
        min_ann_rows: Fewer vectors than this get no HNSW index, because comparing all of them is as fast.
    """

    m: int = 16
    ef_construction: int = 200
    ef_search: int = 300
    threads: int = 0
    seed: int = 1
    kind: AnnKind = "hnsw"
    min_ann_rows: int = 5_000


class AnnIndex(Protocol):
    """Finds vectors that are probably nearest.

    Any number of threads may search at a time; `add` and `remove` must run alone.
    """

    @property
    def file_name(self) -> str:
        """Return the release's file that holds it."""
        ...

    @property
    def kind(self) -> AnnKind:
        """Return which index it is."""
        ...

    @property
    def is_graph(self) -> bool:
        """Return whether vectors are reached by links, so that some may become unreachable."""
        ...

    @property
    def rows_per_candidate(self) -> float:
        """Return what one candidate costs, in rows of a table compared exactly."""
        ...

    def candidates_needed(self, k: int) -> int:
        """Return how many candidates to ask for so that the best ``k`` are among them."""
        ...

    def __len__(self) -> int:
        """Return how many vectors it holds; removed ones may be counted."""
        ...

    def set_ef_search(self, ef_search: int) -> None:
        """Change the length of the candidate list of later searches."""
        ...

    def search(self, vectors: Float32Array, k: int) -> tuple[RowIndices, Float32Array | None] | None:
        """Find the ``k`` vectors with the largest inner product with each query.

        Args:
            vectors: Queries; shape [n, dimension].
            k: At least 1.

        Returns:
            Labels and inner products, best first, each of shape [n, k]. The products are None if the index knows only
            estimates; all is None if fewer than ``k`` were found.
        """
        ...

    def add(self, labels: RowIndices, vectors: Float32Array, threads: int = 1) -> None:
        """Add vectors, or replace those of known labels; 0 threads use every core."""
        ...

    def remove(self, labels: RowIndices) -> None:
        """Remove vectors, all of which must be there. They may keep taking up memory."""
        ...

    def new_empty(self, capacity: int) -> Self:
        """Return an index without vectors, with room for ``capacity``, that is built as this one was."""
        ...

    def save(self, folder: Path) -> None:
        """Write it into a release's folder."""
        ...
