"""Which graph: hnswlib's, or faiss's where vectors are rounded. faiss is imported where it is needed alone."""

from __future__ import annotations

from pathlib import Path

from common.layout import ROUNDED_INDEX
from services.retrieval.graph import Graph, HnswOptions
from services.retrieval.hnswlib_graph import HnswlibGraph
from services.retrieval.vector_index import Floats


def empty_graph(vectors: Floats, options: HnswOptions) -> Graph:
    """Return a graph without vectors for those of ``vectors``, with room for them; shape [n, dimension]."""
    if options.vectors == "float32":
        return HnswlibGraph.empty(vectors.shape[1], len(vectors), options)
    from services.retrieval.rounded_graph import RoundedGraph, Rounding  # noqa: PLC0415 - 15 MB that few need

    return RoundedGraph.empty(vectors.shape[1], Rounding.of(options.vectors, vectors), options)


def load_graph(folder: Path, dimension: int) -> Graph:
    """Load the graph that the release in ``folder`` holds.

    Raises:
        BadRelease: A file can't be read, or they don't fit together.
    """
    if not (folder / ROUNDED_INDEX).exists():
        return HnswlibGraph.load(folder, dimension)
    from services.retrieval.rounded_graph import RoundedGraph  # noqa: PLC0415 - as above

    return RoundedGraph.load(folder, dimension)
