"""Search by Milvus, for a catalogue that outgrows one machine: a server's address, or a file of the embedded one."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pymilvus import DataType, MilvusClient, MilvusException

from common.arrays import BoolMask, Float32Array, RowIndices
from common.errors import InvalidRequest, NotReady
from services.retrieval.ann.ann_index import IndexType
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.index.vector_index import Hits, check_search

MAX_K: Final = 16_384  # Milvus' own bound on a search's results
_ROWS_A_CALL: Final = 5_000
_TIMEOUT_S: Final = 10.0  # to connect
# A filter goes to Milvus as a list of labels while it, or what it leaves out, is no longer than this; past it more
# neighbours are asked for than are needed, by so much more than the filter's share calls for.
_LISTED: Final = 10_000
_OVERSAMPLING: Final = 1.5


@dataclass(frozen=True)
class MilvusOptions:
    """Where Milvus is, and how its graph is built and searched; see `IndexOptions`.

    Attributes:
        address: ``http://host:19530``, or the file of the embedded server, which ends in ``.db``.
        collection: Its collection.
    """

    address: str
    collection: str
    m: int = 16
    ef_construction: int = 200
    ef_search: int = 200


class MilvusIndex:
    """A collection of Milvus; implements `VectorIndex`. Make it with `build` or `load`.

    Which labels are there is known here too, so that a filter is counted before it is asked for: one process changes
    a collection. Where Milvus' graph yields fewer than there are, every query of the search gets as few.
    `search` raises NotReady where Milvus does not answer, and InvalidRequest past `MAX_K`.
    """

    def __init__(self, client: MilvusClient, options: MilvusOptions, dimension: int, present: BoolMask) -> None:
        self._client = client
        self._options = options
        self._dimension = dimension
        self._present = present
        self._writer = threading.Lock()

    @classmethod
    def build(cls, vectors: Float32Array, options: MilvusOptions, removed: RowIndices | None = None) -> MilvusIndex:
        """Fill the collection with unit vectors, the label of each being its row; shape [n, dimension].

        A collection that has as many is taken as it is; one that a crash left unfinished is finished. Servers may do so
        at once, since they write the same.
        """
        present = np.ones(len(vectors), dtype=np.bool_)
        if removed is not None:
            present[removed] = False
        with _asking(options):
            client = MilvusClient(options.address, timeout=_TIMEOUT_S)
            _create(client, options, vectors.shape[1])
        index = cls(client, options, vectors.shape[1], present)
        if index._count() != len(index):
            labels = np.flatnonzero(present)
            index._upsert(labels, vectors[labels])
        return index

    @classmethod
    def load(cls, folder: Path, options: MilvusOptions) -> MilvusIndex:
        """Open the collection of the release in ``folder``, filled from the release's vectors where it is not there."""
        exact = FlatIndex.load(folder)
        vectors, removed = exact.table()
        return cls.build(vectors, options, removed)

    def save(self, folder: Path) -> None:
        """Write the vectors into a release's folder, from which `load` makes the collection."""
        table = np.zeros((len(self._present), self._dimension), dtype=np.float32)
        labels = np.flatnonzero(self._present)
        with _asking(self._options):
            for part in _parts(labels):
                rows = self._client.get(self._options.collection, ids=part.tolist(), output_fields=["label", "vector"])
                for row in rows:
                    table[row["label"]] = row["vector"]
        FlatIndex(table, np.flatnonzero(~self._present)).save(folder)

    def close(self, *, discard: bool = False) -> None:
        """Let go of the connection, and drop the collection before where it is of no use any more."""
        if discard:
            with _asking(self._options):
                self._client.drop_collection(self._options.collection)
        self._client.close()

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return self._dimension

    @property
    def index_type(self) -> IndexType:
        """See `VectorIndex.index_type`."""
        return "milvus"

    def __len__(self) -> int:
        return int(np.count_nonzero(self._present))

    def search(self, vectors: Float32Array, k: int, allowed: BoolMask | None = None) -> Hits:
        """Find the ``k`` allowed vectors most like each query; see `VectorIndex.search`."""
        check_search(self._dimension, vectors, k)
        present = self._present
        passing = present if allowed is None else _cut(allowed, len(present)) & present
        k = min(k, int(np.count_nonzero(passing)))
        if k > MAX_K:
            raise InvalidRequest(f"k: {k:,}; Milvus finds at most {MAX_K:,} at a time")
        if k == 0 or not len(vectors):
            return _as_hits([[] for _ in vectors], 0)
        return self._search(vectors, k, present, passing)

    def add(self, labels: RowIndices, vectors: Float32Array) -> None:
        """Add or replace vectors; see `VectorIndex.add`."""
        check_search(self._dimension, vectors, k=1)
        if not len(labels):
            return
        with self._writer:
            self._upsert(labels, vectors)
            present = np.zeros(max(len(self._present), int(labels.max()) + 1), dtype=np.bool_)
            present[: len(self._present)] = self._present
            present[labels] = True
            self._present = present

    def remove(self, labels: RowIndices) -> None:
        """Remove vectors; see `VectorIndex.remove`."""
        with self._writer:
            gone = np.unique(labels[labels < len(self._present)])
            present = self._present.copy()
            present[gone] = False
            self._present = present  # before Milvus, which a search may ask meanwhile
            with _asking(self._options):
                for part in _parts(gone):
                    self._client.delete(self._options.collection, ids=part.tolist())

    def _search(self, vectors: Float32Array, k: int, present: BoolMask, passing: BoolMask) -> Hits:
        count, there = int(np.count_nonzero(passing)), int(np.count_nonzero(present))
        if count == there:
            return _as_hits(self._ask(vectors, k, ""), k)
        if there - count <= _LISTED:
            return _as_hits(self._ask(vectors, k, f"label not in {np.flatnonzero(present & ~passing).tolist()}"), k)
        further = math.ceil(_OVERSAMPLING * k * there / count)
        if count > _LISTED and further <= MAX_K:
            found = [[hit for hit in hits if passing[hit["label"]]] for hits in self._ask(vectors, further, "")]
            if all(len(hits) >= k for hits in found):
                return _as_hits(found, k)
        return _as_hits(self._ask(vectors, k, f"label in {np.flatnonzero(passing).tolist()}"), k)

    def _ask(self, vectors: Float32Array, k: int, condition: str) -> list[list[Any]]:
        options = {"metric_type": "IP", "params": {"ef": max(k, self._options.ef_search)}}
        with _asking(self._options):
            found = self._client.search(
                self._options.collection,
                data=list(vectors),
                limit=k,
                filter=condition,
                search_params=options,
                consistency_level="Strong",  # a search sees every change made before it
            )
        return [list(hits) for hits in found]

    def _upsert(self, labels: RowIndices, vectors: Float32Array) -> None:
        with _asking(self._options):
            for part in _parts(np.arange(len(labels))):
                rows = [{"label": int(labels[row]), "vector": vectors[row]} for row in part]
                self._client.upsert(self._options.collection, rows)

    def _count(self) -> int:
        with _asking(self._options):
            counted = self._client.query(
                self._options.collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
            )
        return int(counted[0]["count(*)"])


def _create(client: MilvusClient, options: MilvusOptions, dimension: int) -> None:
    if client.has_collection(options.collection):
        client.load_collection(options.collection)
        return
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("label", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    graph = client.prepare_index_params()
    built = {"M": options.m, "efConstruction": options.ef_construction}
    graph.add_index("vector", index_type="HNSW", metric_type="IP", params=built)
    client.create_collection(options.collection, schema=schema, index_params=graph, consistency_level="Strong")


def _as_hits(found: Sequence[Sequence[Any]], k: int) -> Hits:
    """Return what Milvus found as tables, as wide as the shortest answer and at most ``k``."""
    width = min([k, *(len(hits) for hits in found)])
    labels = np.array([[hit["label"] for hit in hits[:width]] for hits in found], dtype=np.int64)
    scores = np.array([[hit["distance"] for hit in hits[:width]] for hits in found], dtype=np.float32)
    shape = (len(found), width)
    return Hits(labels.reshape(shape), scores.reshape(shape), "approximate")


def _cut(mask: BoolMask, length: int) -> BoolMask:
    """Return a mask of ``length``; past its end nothing is allowed."""
    cut = np.zeros(length, dtype=np.bool_)
    cut[: len(mask)] = mask[:length]
    return cut


def _parts(rows: RowIndices) -> Iterator[RowIndices]:
    return (rows[start : start + _ROWS_A_CALL] for start in range(0, len(rows), _ROWS_A_CALL))


@contextmanager
def _asking(options: MilvusOptions) -> Iterator[None]:
    try:
        yield
    except MilvusException as error:
        raise NotReady(f"Milvus at {options.address} does not answer for {options.collection}: {error}") from error
