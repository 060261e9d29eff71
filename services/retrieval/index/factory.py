"""Builds and loads the index over a release's vectors: exact search for few vectors, otherwise HNSW or PQ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from common.arrays import Float32Array
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.ann.factory import has_ann_index
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.reachability import TIE
from services.retrieval.index.vector_index import VectorIndex

# PQ is replaced by HNSW if it finds less than this of the ten nearest vectors: near-duplicates share a code.
_MIN_PQ_RECALL: Final = 0.98
_SAMPLE_QUERIES: Final = 200
_SAMPLE_K: Final = 10


def build_index(vectors: Float32Array, options: IndexOptions, warn: Callable[[str], object]) -> VectorIndex:
    """Build the index over unit vectors, the label of each being its row.

    Args:
        vectors: Shape [n, dimension].
        options: Which index, and how it is built.
        warn: Is called with a sentence if PQ was asked for and its recall is too low, so that HNSW was built instead.
    """
    if options.kind == "pq":
        index = HybridIndex.build(vectors, options)
        recall = _sample_recall(index, vectors)
        if recall >= _MIN_PQ_RECALL:
            return index
        warn(
            f"PQ finds only {recall:.3f} of the {_SAMPLE_K} nearest vectors of a sample (at least {_MIN_PQ_RECALL} is "
            f"needed), because many texts are nearly the same. The release gets {_default_name(len(vectors), options)}"
        )
    if len(vectors) < options.min_ann_rows:
        return FlatIndex(vectors)
    return HybridIndex.build(vectors, replace(options, kind="hnsw"))


def _default_name(count: int, options: IndexOptions) -> str:
    return "exact search" if count < options.min_ann_rows else "an HNSW index"


def load_index(folder: Path, ef_search: int = IndexOptions.ef_search) -> VectorIndex:
    """Load the index of the release in ``folder`` and map its vectors.

    Raises:
        BadRelease: A file can't be read, or the files contradict one another.
    """
    return HybridIndex.load(folder, ef_search) if has_ann_index(folder) else FlatIndex.load(folder)


def _sample_recall(index: HybridIndex, vectors: Float32Array) -> float:
    """Return the share of the nearest vectors of a sample that the index finds."""
    if not len(vectors):
        return 1.0
    sample = vectors[:: max(1, len(vectors) // _SAMPLE_QUERIES)]
    worst = FlatIndex(vectors).search(sample, _SAMPLE_K).scores[:, -1:]
    return float(np.mean(index.search(sample, _SAMPLE_K).scores >= worst - TIE))
