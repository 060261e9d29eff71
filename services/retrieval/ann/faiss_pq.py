"""No graph: of every vector four bits for each four numbers, and all of these codes compared with every query.

Product quantisation (Jégou, Douze and Schmid 2011) after a rotation by which it loses less, scanned in registers
(André, Kermarrec and Le Scouarnec 2015, "Cache locality is not enough"), by faiss. What it finds is ordered by the
table. Up to some hundred thousand vectors that takes less time than walking a graph to as good an answer; adding a
vector takes microseconds, and none is ever out of reach.

What faiss 1.15 leaves to its users: nothing is removed or replaced (places without a label here), adding while others
search is unsafe. It releases the GIL while it searches.
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
from common.release.layout import CODES
from services.retrieval.ann.label_map import LabelMap
from services.retrieval.ann.oversampling import oversample

LABELS: Final = "index/codes_labels.npy"


_NUMBERS_A_CODE: Final = 4


_FEWEST_CODES: Final = 32


_BITS: Final = 4


# Rotation and codes are learnt from so many; more gain nothing that could be measured.
_SAMPLE: Final = 30_000


_NOTHING: Final = 1e-12


_CENTRES: Final = 1 << _BITS


# How many are compared by the table for each entry that a graph's candidate list would have.
_COMPARED: Final = 1.25


_COMPARED_EACH: Final = 2.5


# Those found in places left behind come in clusters, as those that a filter leaves out do.
_OVERSAMPLING: Final = 1.5


class FaissPqFastScan:
    """Implements `Graph`, without links. Make it with `empty` or `load`.

    Args:
        index: faiss's.
        places: Which label each of its codes has.
    """

    file: Final = CODES
    numbers: Final = "codes"
    linked: Final = False
    rows_an_entry: Final = 1.0

    def __init__(self, index: faiss.IndexPreTransform, places: LabelMap) -> None:
        self._index = index
        self._places = places
        self._ef_search = 0

    @classmethod
    def empty(cls, vectors: Float32Array, seed: int) -> FaissPqFastScan:
        """Return an index without vectors, its rotation and codes learnt from some of ``vectors``."""
        rows = np.random.default_rng(seed).permutation(len(vectors))[:_SAMPLE]
        sample = vectors[np.sort(rows)] if len(rows) else np.eye(vectors.shape[1], dtype=np.float32)
        each = max(1, min(_NUMBERS_A_CODE, sample.shape[1] // _FEWEST_CODES))
        rotation = _rotation(sample, each)
        codes = faiss.IndexPQFastScan(rotation.d_out, rotation.d_out // each, _BITS, faiss.METRIC_INNER_PRODUCT)
        codes.pq.cp.min_points_per_centroid = 1  # faiss would warn of small catalogues
        faiss.omp_set_num_threads(1)  # sums of several threads differ from run to run
        codes.train(rotation.apply(np.resize(sample, (max(len(sample), _CENTRES), sample.shape[1]))))
        index = faiss.IndexPreTransform(rotation, codes)
        index.is_trained = True
        return cls(index, LabelMap())

    @classmethod
    def load(cls, folder: Path, dimension: int) -> FaissPqFastScan:
        """Load the codes of the release in ``folder``.

        Raises:
            BadRelease: A file can't be read, or they don't fit together.
        """
        try:
            index = faiss.read_index(str(folder / CODES))
        except RuntimeError as error:
            raise BadRelease(f"{CODES} can't be read; build the release again") from error
        if not _is_ours(index) or index.d != dimension:
            raise BadRelease(f"{CODES} holds no codes of vectors of {dimension} numbers; build the release again")
        places = LabelMap.load(folder / LABELS, index.ntotal)
        if len(places) != index.ntotal:
            raise BadRelease(f"{CODES} and {LABELS} differ in size; build the release again")
        return cls(index, places)

    def __len__(self) -> int:
        return self._places.count

    def set_ef_search(self, ef_search: int) -> None:
        """Change how many are compared by the table; see `Graph.set_ef_search`."""
        self._ef_search = ef_search

    def asked(self, k: int) -> int:
        """Return how many must be found so that the best ``k`` are among them; see `Graph.asked`."""
        return math.ceil(max(_COMPARED * self._ef_search, _COMPARED_EACH * k))

    def nearest(self, vectors: Float32Array, k: int) -> tuple[RowIndices, None] | None:
        """Find the ``k`` vectors most like each query by their codes; see `Graph.nearest`."""
        if not len(self):
            return None
        faiss.omp_set_num_threads(1)  # it holds for the calling thread alone
        if self._places.there is None:
            found = self._index.search(vectors, k)[1]  # -1 too for what scores lowest of all by its codes
            return None if (found[:, -1] < 0).any() else (self._places.of(found), None)
        wanted = math.ceil(_OVERSAMPLING * k * len(self._places) / len(self))
        labels = self._places.of(self._index.search(vectors, min(wanted, len(self._places)))[1])
        kept = oversample(labels, None, labels >= 0, k, k)
        return None if kept is None else (kept[0], None)

    def add(self, labels: RowIndices, vectors: Float32Array, threads: int = 1) -> None:
        """Add vectors; those they replace leave their places behind. See `Graph.add`."""
        del threads  # some microseconds each
        if not len(labels):
            return
        faiss.omp_set_num_threads(1)
        self._index.add(np.ascontiguousarray(vectors))
        self._places.append(labels)

    def remove(self, labels: RowIndices) -> None:
        """Leave the places of vectors behind; see `Graph.remove`."""
        self._places.forget(labels)

    def fresh(self, size: int) -> FaissPqFastScan:
        """Return codes of no vectors, of the same rotation; see `Graph.fresh`."""
        del size  # it grows by itself
        ours = faiss.downcast_index(self._index.index)
        codes = faiss.IndexPQFastScan(ours.d, ours.M, _BITS, faiss.METRIC_INNER_PRODUCT)
        codes.pq, codes.is_trained = ours.pq, True  # a copy; `reset` leaves faiss reading behind its end (issue 5591)
        axes = faiss.vector_to_array(faiss.downcast_VectorTransform(self._index.chain.at(0)).A)
        return FaissPqFastScan(faiss.IndexPreTransform(_linear(axes.reshape(ours.d, -1)), codes), LabelMap())

    def __copy__(self) -> FaissPqFastScan:
        """Return the same codes again, which change apart from these."""
        copied = FaissPqFastScan(faiss.clone_index(self._index), copy.copy(self._places))
        copied.set_ef_search(self._ef_search)
        return copied

    def save(self, folder: Path) -> None:
        """Write them into a release's folder."""
        faiss.write_index(self._index, str(folder / CODES))
        self._places.save(folder / LABELS)


def _rotation(sample: Float32Array, each: int) -> faiss.LinearTransform:
    """Return a rotation after which all codes of ``each`` numbers have about as much to tell.

    The principal axes, the widest first, go to the code that has the least so far (Ge et al. 2013, "Optimized Product
    Quantization", section 3.2). Where the dimension is no multiple of ``each``, the narrowest axes are left out.
    """
    wide = sample.astype(np.float64)
    wide -= wide.mean(axis=0)
    variances, axes = np.linalg.eigh(wide.T @ wide / len(wide))
    told = np.log(np.maximum(variances / max(variances[-1], _NOTHING), _NOTHING))
    codes: list[list[int]] = [[] for _ in range(sample.shape[1] // each)]
    tells = [0.0] * len(codes)
    for axis in range(len(told) - 1, len(told) - 1 - len(codes) * each, -1):
        least = min((code for code in range(len(codes)) if len(codes[code]) < each), key=tells.__getitem__)
        codes[least].append(axis)
        tells[least] += told[axis] - told[0]
    return _linear(axes.T[np.concatenate(codes)].astype(np.float32))


def _linear(axes: Float32Array) -> faiss.LinearTransform:
    """Return what turns vectors into their products with orthogonal unit axes; shape [axes, dimension]."""
    transform = faiss.LinearTransform(axes.shape[1], len(axes))
    faiss.copy_array_to_vector(np.ascontiguousarray(axes).ravel(), transform.A)
    transform.is_trained = transform.is_orthonormal = True
    return transform


def _is_ours(index: faiss.Index) -> bool:
    """Tell whether a file's index is what `empty` makes."""
    return (
        isinstance(index, faiss.IndexPreTransform)
        and isinstance(faiss.downcast_index(index.index), faiss.IndexPQFastScan)
        and index.metric_type == faiss.METRIC_INNER_PRODUCT
    )
