"""The port of vector search: what the first stage asks of an index, whichever library or server answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from common.arrays import BoolMask, Float32Array, RowIndices
from common.errors import InvalidRequest
from services.retrieval.ann.ann_index import IndexType

Method = Literal["exact", "approximate"]


class Hits(NamedTuple):
    """What a search found, best first.

    Attributes:
        labels: Labels of the vectors found; shape [queries, k'].
        scores: Their inner products with the query, falling along each row; shape [queries, k'].
        method: Whether every allowed vector was compared, or a graph was walked.
    """

    labels: RowIndices
    scores: Float32Array
    method: Method


class VectorIndex(Protocol):
    """Nearest neighbours by the inner product of unit vectors.

    Labels are rows of one table of vectors: small integers from 0. Searches may run in any number of threads while
    one thread adds and removes; each search sees a whole state, the one before a change or the one after it.
    """

    @property
    def dimension(self) -> int:
        """Return how many numbers a vector has."""
        ...

    @property
    def index_type(self) -> IndexType:
        """Return what searches the vectors."""
        ...

    def __len__(self) -> int:
        """Return how many vectors can be found."""
        ...

    def search(self, vectors: Float32Array, k: int, allowed: BoolMask | None = None) -> Hits:
        """Find the ``k`` vectors most like each query.

        Args:
            vectors: The queries, of unit length; shape [n, dimension].
            k: How many to find, at least 1.
            allowed: Which labels may be found, None for every one; labels past its end are not allowed. A mask that was
                given must not change any more: what follows from it may be remembered.

        Returns:
            As many as there are up to ``k``: exactly min(k, allowed vectors in the index) a query.

        Raises:
            InvalidRequest: Another dimension than the index's, or ``k`` below 1.
        """
        ...

    def add(self, labels: RowIndices, vectors: Float32Array) -> None:
        """Add vectors, replacing those of labels that are there; shapes [n] and [n, dimension]."""
        ...

    def remove(self, labels: RowIndices) -> None:
        """Remove vectors; labels that are not there are ignored."""
        ...

    def save(self, folder: Path) -> None:
        """Write the index into a release's folder."""
        ...

    def close(self, *, discard: bool = False) -> None:
        """Let go of what it holds outside of this process; with ``discard`` it is removed there too."""
        ...


def check_search(dimension: int, vectors: Float32Array, k: int) -> None:
    """Raise InvalidRequest where a search can't be asked for like this."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:  # noqa: PLR2004 - a table has two axes
        raise InvalidRequest(f"vectors: shape {vectors.shape} is not [queries, {dimension}]")
    if k < 1:
        raise InvalidRequest(f"k: {k} is below 1")
