"""The port of vector search: what the first stage needs of an index, whatever library or server answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from common.arrays import BoolMask, Float32Array, RowIndices
from common.errors import InvalidRequest
from services.retrieval.ann.ann_index import IndexType

Method = Literal["exact", "approximate"]


class Hits(NamedTuple):
    """The result of a search, best first.

    Attributes:
        labels: Labels of the vectors found; shape [queries, k'].
        scores: Their inner products with the query, falling along each row; shape [queries, k'].
        method: `exact` if every allowed vector was compared, `approximate` if HNSW or PQ answered.
    """

    labels: RowIndices
    scores: Float32Array
    method: Method


class VectorIndex(Protocol):
    """Nearest neighbours by the inner product of unit vectors.

    Labels are rows of one table of vectors: small integers from 0. Any number of threads may search while one thread
    adds and removes. Each search sees one whole state, before or after a change.
    """

    @property
    def dimension(self) -> int:
        """Return the numbers per vector."""
        ...

    @property
    def index_type(self) -> IndexType:
        """Return what searches the vectors."""
        ...

    def __len__(self) -> int:
        """Return how many vectors can be found."""
        ...

    def search(self, vectors: Float32Array, k: int, allowed: BoolMask | None = None) -> Hits:
        """Find the ``k`` vectors nearest to each query.

        Args:
            vectors: The queries, of unit length; shape [n, dimension].
            k: How many to find, at least 1.
            allowed: Which labels may be found, None for all; labels past its end are not allowed. The mask must not
                change any more, because results of it are cached.

        Returns:
            Exactly min(k, allowed vectors in the index) hits per query.

        Raises:
            InvalidRequest: The dimension is not the index's, or ``k`` is below 1.
        """
        ...

    def add(self, labels: RowIndices, vectors: Float32Array) -> None:
        """Add vectors, or replace those of known labels; shapes [n] and [n, dimension]."""
        ...

    def remove(self, labels: RowIndices) -> None:
        """Remove vectors; unknown labels are ignored."""
        ...

    def save(self, folder: Path) -> None:
        """Write the index into a release's folder."""
        ...

    def close(self, *, discard: bool = False) -> None:
        """Release resources outside of this process; with ``discard``, the data there is deleted too."""
        ...


def check_search(dimension: int, vectors: Float32Array, k: int) -> None:
    """Raise InvalidRequest if queries or ``k`` are invalid."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:  # noqa: PLR2004 - a table has two axes
        raise InvalidRequest(f"vectors: shape {vectors.shape} is not [queries, {dimension}]")
    if k < 1:
        raise InvalidRequest(f"k: {k} is below 1")
