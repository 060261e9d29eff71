"""The port of what finds about the nearest for `ApproximateIndex`: links that are walked, or codes that are scanned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

from common.arrays import Float32Array, RowIndices


@dataclass(frozen=True)
class HnswOptions:
    """How the graph is built and searched (Malkov and Yashunin, https://arxiv.org/abs/1603.09320).

    Attributes:
        m: Links of a vector on each layer above the lowest, which has twice as many.
        ef_construction: Length of the candidate list while building.
        ef_search: Length of the candidate list while searching; recall against time.
        threads: Threads that build, 0 for every core; more than one makes the graph differ from run to run.
        seed: Of the draw of layers.
        vectors: What numbers the graph's own vectors are of; `auto` leaves it to how many there are.
    """

    m: int = 16
    ef_construction: int = 200
    ef_search: int = 300
    threads: int = 0
    seed: int = 1
    vectors: RequestedVectorEncoding = "auto"


class AnnIndex(Protocol):
    """Vectors and their links, or codes in place of these.

    Searches may run in any number of threads; `add` and `remove` must be alone.
    """

    @property
    def file(self) -> str:
        """Return the file of a release that it is kept in."""
        ...

    @property
    def numbers(self) -> VectorEncoding:
        """Return what numbers its vectors are of."""
        ...

    @property
    def linked(self) -> bool:
        """Return whether its vectors are reached by links, of which some may have none left."""
        ...

    @property
    def rows_an_entry(self) -> float:
        """Return what each that is found costs, in rows of a table compared exactly."""
        ...

    def asked(self, k: int) -> int:
        """Return how many must be found so that the best ``k`` are among them, its own order being not quite right."""
        ...

    def __len__(self) -> int:
        """Return how many vectors it holds; those that were removed may count."""
        ...

    def set_ef_search(self, ef_search: int) -> None:
        """Change the length of the candidate list, for searches from now on; never below what one asks for."""
        ...

    def nearest(self, vectors: Float32Array, k: int) -> tuple[RowIndices, Float32Array | None] | None:
        """Walk to the ``k`` vectors most like each query.

        Args:
            vectors: Shape [n, dimension].
            k: At least 1.

        Returns:
            Labels and inner products, best first, each of shape [n, k]; None in place of the products where the graph
            knows about how like they are and no more; None for all where it reaches fewer than ``k``.
        """
        ...

    def add(self, labels: RowIndices, vectors: Float32Array, threads: int = 1) -> None:
        """Add vectors, replacing those of labels that are there; on 0 threads, on every core's."""
        ...

    def remove(self, labels: RowIndices) -> None:
        """Remove vectors, all of which are there; they may stay in it to be walked through."""
        ...

    def fresh(self, size: int) -> Self:
        """Return a graph without vectors, with room for ``size``, that builds and rounds as this one does."""
        ...

    def save(self, folder: Path) -> None:
        """Write it into a release's folder."""
        ...


# What an index keeps its vectors in to search them; scores are of float32 in any case.
VectorEncoding = Literal["float32", "float16", "int8", "codes"]


# What may be asked for: `auto` leaves it to how many vectors there are.
RequestedVectorEncoding = Literal["auto", "float32", "float16", "int8", "codes"]
