"""Which graph: hnswlib's, or faiss's where vectors are rounded or coded. faiss is imported where it is needed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from common.arrays import Float32Array
from common.release.layout import CODES, ROUNDED_INDEX
from services.retrieval.ann.ann_index import AnnIndex, HnswOptions, VectorEncoding
from services.retrieval.ann.hnswlib_hnsw import HnswlibHnsw

# Between these, comparing all codes takes less time than walking a graph to as good an answer: a third for 10,000,
# three fifths for 100,000 vectors of 384 numbers. Fewer are soon compared themselves.
_FEWEST_SCANNED: Final = 5_000


_MOST_SCANNED: Final = 100_000


def fastest(count: int) -> VectorEncoding:
    """Return what so many vectors are searched in fastest."""
    return "codes" if _FEWEST_SCANNED <= count <= _MOST_SCANNED else "float32"


def new_ann_index(vectors: Float32Array, options: HnswOptions) -> AnnIndex:
    """Return a graph without vectors for those of ``vectors``, with room for them; shape [n, dimension]."""
    numbers = fastest(len(vectors)) if options.vectors == "auto" else options.vectors
    if numbers == "float32":
        return HnswlibHnsw.empty(vectors.shape[1], len(vectors), options)
    if numbers == "codes":
        from services.retrieval.ann.faiss_pq import FaissPqFastScan  # noqa: PLC0415 - faiss: 15 MB that few need

        return FaissPqFastScan.empty(vectors, options.seed)
    from services.retrieval.ann.faiss_hnsw import FaissHnswSq, FaissHnswSqHeader  # noqa: PLC0415 - as above

    return FaissHnswSq.empty(vectors.shape[1], FaissHnswSqHeader.of(numbers, vectors), options)


def load_ann_index(folder: Path, dimension: int) -> AnnIndex:
    """Load the graph that the release in ``folder`` holds.

    Raises:
        BadRelease: A file can't be read, or they don't fit together.
    """
    if (folder / CODES).exists():
        from services.retrieval.ann.faiss_pq import FaissPqFastScan  # noqa: PLC0415 - as above

        return FaissPqFastScan.load(folder, dimension)
    if not (folder / ROUNDED_INDEX).exists():
        return HnswlibHnsw.load(folder, dimension)
    from services.retrieval.ann.faiss_hnsw import FaissHnswSq  # noqa: PLC0415 - as above

    return FaissHnswSq.load(folder, dimension)
