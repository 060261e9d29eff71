"""faiss's product quantisation with fast scan: four bits for each four dimensions, all codes scanned for each query.

Product quantisation (Jégou, Douze and Schmid 2011) after a rotation that lowers its error, scanned in registers (André,
Kermarrec and Le Scouarnec 2015, "Cache locality is not enough"). The products are estimates, so `HybridIndex` compares
the best candidates exactly. Adding a vector takes microseconds, and no vector can become unreachable.

faiss 1.15 neither removes nor replaces an entry of this index (see `LabelMap`), and it must not be searched while it is
changed. It releases the GIL while it searches.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Final

import faiss
import numpy as np

from common.arrays import Float32Array, RowIndices
from common.errors import BadRelease
from common.release.layout import PQ_INDEX
from services.retrieval.ann.label_map import LabelMap
from services.retrieval.ann.oversampling import first_passing

LABELS: Final = "index/pq_labels.npy"
_DIMENSIONS_PER_CODE: Final = 4
_MIN_CODES: Final = 32
_BITS: Final = 4
_CENTROIDS: Final = 1 << _BITS
# Vectors that rotation and codes are trained on; more gain nothing measurable.
_TRAINING_ROWS: Final = 30_000
_EPSILON: Final = 1e-12
# Candidates compared exactly: per entry of an HNSW candidate list, and per item that is asked for.
_CANDIDATES_PER_EF: Final = 1.25
_CANDIDATES_PER_K: Final = 2.5
# Tombstones come in clusters, as filtered items do.
_OVERSAMPLING: Final = 1.5


class FaissPqFastScan:
    """Implements `AnnIndex`. Make it with `empty` or `load`.

    Args:
        index: faiss's index.
        labels: The label of each of its entries.
    """

    file_name: Final = PQ_INDEX
    kind: Final = "pq"
    is_graph: Final = False
    rows_per_candidate: Final = 1.0

    def __init__(self, index: faiss.IndexPreTransform, labels: LabelMap) -> None:
        self._index = index
        self._labels = labels
        self._ef_search = 0

    @classmethod
    def empty(cls, vectors: Float32Array, seed: int) -> FaissPqFastScan:
        """Return an index without vectors, trained on a sample of ``vectors``."""
        rows = np.random.default_rng(seed).permutation(len(vectors))[:_TRAINING_ROWS]
        sample = vectors[np.sort(rows)] if len(rows) else np.eye(vectors.shape[1], dtype=np.float32)
        width = max(1, min(_DIMENSIONS_PER_CODE, sample.shape[1] // _MIN_CODES))
        rotation = _balanced_rotation(sample, width)
        codes = faiss.IndexPQFastScan(rotation.d_out, rotation.d_out // width, _BITS, faiss.METRIC_INNER_PRODUCT)
        codes.pq.cp.min_points_per_centroid = 1  # otherwise faiss warns about small catalogues
        faiss.omp_set_num_threads(1)  # sums of several threads differ from run to run
        codes.train(rotation.apply(np.resize(sample, (max(len(sample), _CENTROIDS), sample.shape[1]))))
        index = faiss.IndexPreTransform(rotation, codes)
        index.is_trained = True
        return cls(index, LabelMap())

    @classmethod
    def load(cls, folder: Path, dimension: int) -> FaissPqFastScan:
        """Load the index of the release in ``folder``.

        Raises:
            BadRelease: A file can't be read, or the files contradict one another.
        """
        try:
            index = faiss.read_index(str(folder / PQ_INDEX))
        except RuntimeError as error:
            raise BadRelease(f"{PQ_INDEX} can't be read; build the release again") from error
        if not _is_pq_fast_scan(index) or index.d != dimension:
            raise BadRelease(f"{PQ_INDEX} is no PQ index of {dimension} dimensions; build the release again")
        labels = LabelMap.load(folder / LABELS, index.ntotal)
        if len(labels) != index.ntotal:
            raise BadRelease(f"{PQ_INDEX} and {LABELS} differ in size; build the release again")
        return cls(index, labels)

    def __len__(self) -> int:
        return self._labels.live_count

    def set_ef_search(self, ef_search: int) -> None:
        """Change how many candidates are compared exactly; see `AnnIndex.set_ef_search`."""
        self._ef_search = ef_search

    def candidates_needed(self, k: int) -> int:
        """Return how many estimates contain the best ``k``; see `AnnIndex.candidates_needed`."""
        return math.ceil(max(_CANDIDATES_PER_EF * self._ef_search, _CANDIDATES_PER_K * k))

    def search(self, vectors: Float32Array, k: int) -> tuple[RowIndices, None] | None:
        """Find the ``k`` vectors with the best estimates; see `AnnIndex.search`."""
        if not len(self):
            return None
        faiss.omp_set_num_threads(1)  # applies to the calling thread only
        if self._labels.is_live is None:
            entries = self._index.search(vectors, k)[1]  # -1 also for the entry with the lowest estimate possible
            return None if (entries[:, -1] < 0).any() else (self._labels.labels_of(entries), None)
        needed = math.ceil(_OVERSAMPLING * k * len(self._labels) / len(self))
        labels = self._labels.labels_of(self._index.search(vectors, min(needed, len(self._labels)))[1])
        live = first_passing(labels, None, labels >= 0, k, k)
        return None if live is None else (live[0], None)

    def add(self, labels: RowIndices, vectors: Float32Array, threads: int = 1) -> None:
        """Add vectors; entries that they replace become tombstones. See `AnnIndex.add`."""
        del threads  # a vector takes microseconds
        if not len(labels):
            return
        faiss.omp_set_num_threads(1)
        self._index.add(np.ascontiguousarray(vectors))
        self._labels.append(labels)

    def remove(self, labels: RowIndices) -> None:
        """Turn the entries of vectors into tombstones; see `AnnIndex.remove`."""
        self._labels.remove(labels)

    def new_empty(self, capacity: int) -> FaissPqFastScan:
        """Return an empty index with the same rotation and codebooks; see `AnnIndex.new_empty`."""
        del capacity  # it grows by itself
        trained = faiss.downcast_index(self._index.index)
        codes = faiss.IndexPQFastScan(trained.d, trained.M, _BITS, faiss.METRIC_INNER_PRODUCT)
        # A copy of what was trained, because a search after `reset` reads past the end of the index:
        # https://github.com/facebookresearch/faiss/issues/5591
        codes.pq, codes.is_trained = trained.pq, True
        axes = faiss.vector_to_array(faiss.downcast_VectorTransform(self._index.chain.at(0)).A)
        return FaissPqFastScan(faiss.IndexPreTransform(_projection(axes.reshape(trained.d, -1)), codes), LabelMap())

    def __copy__(self) -> FaissPqFastScan:
        """Return an index with the same entries that can be changed on its own."""
        copied = FaissPqFastScan(faiss.clone_index(self._index), copy.copy(self._labels))
        copied.set_ef_search(self._ef_search)
        return copied

    def save(self, folder: Path) -> None:
        """Write it into a release's folder."""
        faiss.write_index(self._index, str(folder / PQ_INDEX))
        self._labels.save(folder / LABELS)


def _balanced_rotation(sample: Float32Array, width: int) -> faiss.LinearTransform:
    """Return a rotation after which all codes, of ``width`` dimensions each, have about the same variance.

    Principal axes are assigned by falling variance, each to the code with the smallest product of variances so far
    (Ge et al. 2013, "Optimized Product Quantization", section 3.2). If ``width`` does not divide the dimension, the
    axes with the least variance are dropped.
    """
    centred = sample.astype(np.float64)
    centred -= centred.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    log_variances = np.log(np.maximum(variances / max(variances[-1], _EPSILON), _EPSILON))
    axes_of_code: list[list[int]] = [[] for _ in range(sample.shape[1] // width)]
    sums = [0.0] * len(axes_of_code)
    for axis in range(len(variances) - 1, len(variances) - 1 - len(axes_of_code) * width, -1):
        code = min((code for code, of_code in enumerate(axes_of_code) if len(of_code) < width), key=sums.__getitem__)
        axes_of_code[code].append(axis)
        sums[code] += log_variances[axis] - log_variances[0]
    return _projection(axes.T[np.concatenate(axes_of_code)].astype(np.float32))


def _projection(axes: Float32Array) -> faiss.LinearTransform:
    """Return the transform of vectors to their products with orthonormal axes; shape [axes, dimension]."""
    transform = faiss.LinearTransform(axes.shape[1], len(axes))
    faiss.copy_array_to_vector(np.ascontiguousarray(axes).ravel(), transform.A)
    transform.is_trained = transform.is_orthonormal = True
    return transform


def _is_pq_fast_scan(index: faiss.Index) -> bool:
    """Return whether a loaded index has the type that `empty` makes."""
    return (
        isinstance(index, faiss.IndexPreTransform)
        and isinstance(faiss.downcast_index(index.index), faiss.IndexPQFastScan)
        and index.metric_type == faiss.METRIC_INNER_PRODUCT
    )
