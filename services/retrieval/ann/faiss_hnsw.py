"""faiss's graph of vectors in float16 or int8: half or a quarter of float32's memory.

What faiss 1.15 leaves to its users: no vector is removed or replaced (labels and a bitmap here), int8 must be scaled,
and searching while adding is unsafe. It releases the GIL while it searches, and threads search at the same time.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Final, Literal

import faiss
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.arrays import Float32Array, RowIndices
from common.cpu import usable_cores
from common.errors import BadRelease
from common.release.layout import ROUNDED_INDEX, ROUNDED_INDEX_SETTINGS
from services.retrieval.ann.ann_index import HnswOptions
from services.retrieval.ann.label_map import LabelMap

LABELS: Final = "index/rounded_labels.npy"


_KINDS: Final = {"float16": faiss.ScalarQuantizer.QT_fp16, "int8": faiss.ScalarQuantizer.QT_8bit_direct_signed}


# Of Home Depot's titles the best 100 of 110 that int8 finds are as good as of 150; other encoders' may lie closer.
_SPARE: Final = {"float16": 1.0, "int8": 1.25}


_LARGEST: Final = 127  # of int8; -128 stays unused, so that a vector and its opposite are rounded alike


_PART_ROWS: Final = 1_000


class FaissHnswSqHeader(BaseModel):
    """How vectors are rounded: the file beside the graph.

    Attributes:
        vectors: What numbers they become.
        scale: What they are multiplied by before; 1 for float16.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vectors: Literal["float16", "int8"]
    scale: float = Field(gt=0, allow_inf_nan=False)

    @classmethod
    def of(cls, vectors: Literal["float16", "int8"], table: Float32Array) -> FaissHnswSqHeader:
        """Return how a table is rounded with nothing cut off; shape [rows, dimension]."""
        largest = max(float(table.max()), -float(table.min())) if table.size else 1.0
        return cls(vectors=vectors, scale=_LARGEST / largest if vectors == "int8" and largest else 1.0)

    def apply(self, vectors: Float32Array) -> Float32Array:
        """Scale and round vectors; numbers larger than any of the table are cut off. Shape [n, dimension]."""
        if self.vectors == "float16":
            return np.ascontiguousarray(vectors)
        whole: Float32Array = np.rint(vectors * np.float32(self.scale))
        return np.clip(whole, -_LARGEST, _LARGEST, out=whole)


class FaissHnswSq:
    """Implements `Graph`. Make it with `empty` or `load`.

    Args:
        index: faiss's.
        rounding: How its vectors are rounded.
        places: Which label each of its vectors has.
    """

    file: Final = ROUNDED_INDEX
    linked: Final = True
    rows_an_entry: Final = 10.0

    def __init__(self, index: faiss.IndexHNSWSQ, rounding: FaissHnswSqHeader, places: LabelMap) -> None:
        self.numbers: Final = rounding.vectors
        self._index = index
        self._rounding = rounding
        self._places = places
        self._ef_search = HnswOptions.ef_search
        self._search = self._parameters()

    @classmethod
    def empty(cls, dimension: int, rounding: FaissHnswSqHeader, options: HnswOptions) -> FaissHnswSq:
        """Return a graph without vectors."""
        index = faiss.IndexHNSWSQ(dimension, _KINDS[rounding.vectors], options.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = options.ef_construction
        index.hnsw.rng = faiss.RandomGenerator(options.seed)
        return cls(index, rounding, LabelMap())

    @classmethod
    def load(cls, folder: Path, dimension: int) -> FaissHnswSq:
        """Load the graph of the release in ``folder``.

        Raises:
            BadRelease: A file can't be read, or they don't fit together.
        """
        try:
            rounding = FaissHnswSqHeader.model_validate_json((folder / ROUNDED_INDEX_SETTINGS).read_bytes())
        except (OSError, ValidationError) as error:
            raise BadRelease(f"{ROUNDED_INDEX_SETTINGS} can't be used: {error}; build the release again") from error
        try:
            index = faiss.read_index(str(folder / ROUNDED_INDEX))
        except RuntimeError as error:
            raise BadRelease(f"{ROUNDED_INDEX} can't be read; build the release again") from error
        places = LabelMap.load(folder / LABELS, index.ntotal)
        sound = {
            f"{ROUNDED_INDEX} is no graph of {rounding.vectors}": _holds(index, rounding),
            f"{ROUNDED_INDEX} has vectors of {index.d} numbers and not of {dimension}": index.d == dimension,
            f"{ROUNDED_INDEX} and {LABELS} differ in size": len(places) == index.ntotal,
        }
        if faults := [what for what, holds in sound.items() if not holds]:
            raise BadRelease(f"{'; '.join(faults)}; build the release again")
        return cls(index, rounding, places)

    def __len__(self) -> int:
        return self._places.count

    def set_ef_search(self, ef_search: int) -> None:
        """Change the length of the candidate list; see `Graph.set_ef_search`."""
        self._ef_search = ef_search
        self._search = self._parameters()

    def asked(self, k: int) -> int:
        """Return a few more than ``k``, unless the candidate list is shorter; see `Graph.asked`."""
        return max(k, min(math.ceil(_SPARE[self.numbers] * k), self._ef_search))

    def nearest(self, vectors: Float32Array, k: int) -> tuple[RowIndices, None] | None:
        """Walk to the ``k`` vectors most like each query; see `Graph.nearest`."""
        faiss.omp_set_num_threads(1)  # it holds for the calling thread alone
        _, found = self._index.search(self._rounding.apply(vectors), k, params=self._search)
        if (found[:, -1] < 0).any():
            return None
        return self._places.of(found), None

    def add(self, labels: RowIndices, vectors: Float32Array, threads: int = 1) -> None:
        """Add vectors; those they replace stay to be walked through. See `Graph.add`."""
        faiss.omp_set_num_threads(threads or usable_cores())
        for start in range(0, len(labels), _PART_ROWS):
            self._index.add(self._rounding.apply(vectors[start : start + _PART_ROWS]))
        self._places.append(labels)
        self._search = self._parameters()

    def remove(self, labels: RowIndices) -> None:
        """Mark vectors as removed; see `Graph.remove`."""
        self._places.forget(labels)
        self._search = self._parameters()

    def fresh(self, size: int) -> FaissHnswSq:
        """Return a graph without vectors that builds and rounds as this one does; see `Graph.fresh`."""
        del size  # it grows by itself
        hnsw = self._index.hnsw
        options = HnswOptions(m=hnsw.nb_neighbors(1), ef_construction=hnsw.efConstruction)
        return self.empty(self._index.d, self._rounding, options)

    def save(self, folder: Path) -> None:
        """Write it into a release's folder."""
        faiss.write_index(self._index, str(folder / ROUNDED_INDEX))
        (folder / ROUNDED_INDEX_SETTINGS).write_text(json.dumps(self._rounding.model_dump()))
        self._places.save(folder / LABELS)

    def _parameters(self) -> faiss.SearchParametersHNSW:
        """Return how to search: through every vector, to those alone that are there."""
        there = self._places.there
        if there is None:
            return faiss.SearchParametersHNSW(efSearch=self._ef_search)
        # The parameters refer to the selector, and that to the bits, for as long as they live.
        selector = faiss.IDSelectorBitmap(np.packbits(there, bitorder="little"))
        return faiss.SearchParametersHNSW(efSearch=self._ef_search, sel=selector)


def _holds(index: faiss.Index, rounding: FaissHnswSqHeader) -> bool:
    """Tell whether a file's index is what `empty` makes."""
    return (
        isinstance(index, faiss.IndexHNSWSQ)
        and index.metric_type == faiss.METRIC_INNER_PRODUCT
        and faiss.downcast_index(index.storage).sq.qtype == _KINDS[rounding.vectors]
    )
