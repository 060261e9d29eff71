"""Makes and loads approximate indexes. faiss takes 15 MB and is imported only for PQ."""

from __future__ import annotations

from pathlib import Path

from common.arrays import Float32Array
from common.release.layout import HNSW_INDEX, PQ_INDEX
from services.retrieval.ann.ann_index import AnnIndex, IndexOptions
from services.retrieval.ann.hnswlib_hnsw import HnswlibHnsw


def new_ann_index(vectors: Float32Array, options: IndexOptions) -> AnnIndex:
    """Return an index without vectors, prepared for ``vectors``; shape [n, dimension]."""
    if options.kind == "hnsw":
        return HnswlibHnsw.empty(vectors.shape[1], len(vectors), options)
    from services.retrieval.ann.faiss_pq import FaissPqFastScan  # noqa: PLC0415 - see above

    return FaissPqFastScan.empty(vectors, options.seed)


def has_ann_index(folder: Path) -> bool:
    """Return whether the release in ``folder`` has an approximate index."""
    return (folder / HNSW_INDEX).exists() or (folder / PQ_INDEX).exists()


def load_ann_index(folder: Path, dimension: int) -> AnnIndex:
    """Load the approximate index of the release in ``folder``.

    Raises:
        BadRelease: A file can't be read, or the files contradict one another.
    """
    if not (folder / PQ_INDEX).exists():
        return HnswlibHnsw.load(folder, dimension)
    from services.retrieval.ann.faiss_pq import FaissPqFastScan  # noqa: PLC0415 - see above

    return FaissPqFastScan.load(folder, dimension)
