"""Search by Milvus, for a catalogue that outgrows one machine: a server, or the file of the embedded one."""

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
from services.retrieval.index.vector_index import Hits, check_search
from services.retrieval.index.vector_storage import VectorStorage

_ROWS_PER_CALL: Final = 5_000


@dataclass(frozen=True)
class MilvusOptions:
    """Where Milvus is, and how its HNSW index is built and searched; see `IndexOptions`.

    Attributes:
        address: ``http://host:19530``, or the file of the embedded server, which ends in ``.db``.
        collection: The collection's name.
        m: See `IndexOptions.m`.
        ef_construction: See `IndexOptions.ef_construction`.
        ef_search: See `IndexOptions.ef_search`.
        timeout_s: How long to wait for a connection, in seconds.
        max_k: Milvus' own bound on the results of a search.
        max_listed: A filter goes to Milvus as a list of allowed or excluded labels, unless both are longer.
        oversampling: For a longer filter, this factor more hits are asked for than its share of labels calls for.
    """

    address: str
    collection: str
    m: int = 16
    ef_construction: int = 200
    ef_search: int = 200
    timeout_s: float = 10.0
    max_k: int = 16_384
    max_listed: int = 10_000
    oversampling: float = 1.5


class MilvusIndex:
    """A collection of Milvus; implements `VectorIndex`. Make it with `build` or `load`.

    The live labels are known in this process too, so that allowed labels can be counted before a search. So only one
    process may change a collection. If Milvus finds fewer hits for one query than there are, every query of the search
    gets as few. `search` raises NotReady if Milvus does not answer, and InvalidRequest above `MilvusOptions.max_k`.
    """

    def __init__(self, client: MilvusClient, options: MilvusOptions, dimension: int, is_live: BoolMask) -> None:
        self._client = client
        self._options = options
        self._dimension = dimension
        self._is_live = is_live
        self._writer = threading.Lock()

    @classmethod
    def build(cls, vectors: Float32Array, options: MilvusOptions, removed: RowIndices | None = None) -> MilvusIndex:
        """Fill the collection with unit vectors, the label of each being its row; shape [n, dimension].

        A complete collection is used as it is; one that a crash left unfinished is completed. Several servers may do so
        at once, since they write the same.
        """
        is_live = np.ones(len(vectors), dtype=np.bool_)
        if removed is not None:
            is_live[removed] = False
        with _translated_errors(options):
            client = MilvusClient(options.address, timeout=options.timeout_s)
            _create(client, options, vectors.shape[1])
        index = cls(client, options, vectors.shape[1], is_live)
        if index._count() != len(index):
            labels = np.flatnonzero(is_live)
            index._upsert(labels, vectors[labels])
        return index

    @classmethod
    def load(cls, folder: Path, options: MilvusOptions) -> MilvusIndex:
        """Open the collection of the release in ``folder``; fills it from the release's vectors if need be."""
        storage = VectorStorage.load(folder)
        return cls.build(np.asarray(storage.table), options, storage.removed_labels)

    def save(self, folder: Path) -> None:
        """Write the vectors into a release's folder, from which `load` makes the collection."""
        table = np.zeros((len(self._is_live), self._dimension), dtype=np.float32)
        labels = np.flatnonzero(self._is_live)
        with _translated_errors(self._options):
            for chunk in _chunks(labels):
                rows = self._client.get(self._options.collection, ids=chunk.tolist(), output_fields=["label", "vector"])
                for row in rows:
                    table[row["label"]] = row["vector"]
        VectorStorage(table, np.flatnonzero(~self._is_live)).save(folder)

    def close(self, *, discard: bool = False) -> None:
        """Close the connection; with ``discard``, drop the collection first."""
        if discard:
            with _translated_errors(self._options):
                self._client.drop_collection(self._options.collection)
        self._client.close()

    @property
    def dimension(self) -> int:
        """See `VectorIndex.dimension`."""
        return self._dimension

    @property
    def index_type(self) -> IndexType:
        """See `VectorIndex.index_type`."""
        return "milvus"

    def __len__(self) -> int:
        return int(np.count_nonzero(self._is_live))

    def search(self, vectors: Float32Array, k: int, allowed: BoolMask | None = None) -> Hits:
        """Find the ``k`` allowed vectors most like each query; see `VectorIndex.search`."""
        check_search(self._dimension, vectors, k)
        is_live = self._is_live
        selected = is_live if allowed is None else _cut(allowed, len(is_live)) & is_live
        k = min(k, int(np.count_nonzero(selected)))
        if k > self._options.max_k:
            raise InvalidRequest(f"k: {k:,}; Milvus finds at most {self._options.max_k:,} per query")
        if k == 0 or not len(vectors):
            return _as_hits([[] for _ in vectors], 0)
        return self._search(vectors, k, is_live, selected)

    def add(self, labels: RowIndices, vectors: Float32Array) -> None:
        """Add or replace vectors; see `VectorIndex.add`."""
        check_search(self._dimension, vectors, k=1)
        if not len(labels):
            return
        with self._writer:
            self._upsert(labels, vectors)
            is_live = np.zeros(max(len(self._is_live), int(labels.max()) + 1), dtype=np.bool_)
            is_live[: len(self._is_live)] = self._is_live
            is_live[labels] = True
            self._is_live = is_live

    def remove(self, labels: RowIndices) -> None:
        """Remove vectors; see `VectorIndex.remove`."""
        with self._writer:
            removed = np.unique(labels[labels < len(self._is_live)])
            is_live = self._is_live.copy()
            is_live[removed] = False
            self._is_live = is_live  # before Milvus, which a search may query meanwhile
            with _translated_errors(self._options):
                for chunk in _chunks(removed):
                    self._client.delete(self._options.collection, ids=chunk.tolist())

    def _search(self, vectors: Float32Array, k: int, is_live: BoolMask, allowed: BoolMask) -> Hits:
        options = self._options
        count, total = int(np.count_nonzero(allowed)), int(np.count_nonzero(is_live))
        if count == total:
            return _as_hits(self._query(vectors, k, ""), k)
        if total - count <= options.max_listed:
            return _as_hits(self._query(vectors, k, f"label not in {np.flatnonzero(is_live & ~allowed).tolist()}"), k)
        more = math.ceil(options.oversampling * k * total / count)
        if count > options.max_listed and more <= options.max_k:
            found = [[hit for hit in hits if allowed[hit["label"]]] for hits in self._query(vectors, more, "")]
            if all(len(hits) >= k for hits in found):
                return _as_hits(found, k)
        return _as_hits(self._query(vectors, k, f"label in {np.flatnonzero(allowed).tolist()}"), k)

    def _query(self, vectors: Float32Array, k: int, condition: str) -> list[list[Any]]:
        parameters = {"metric_type": "IP", "params": {"ef": max(k, self._options.ef_search)}}
        with _translated_errors(self._options):
            found = self._client.search(
                self._options.collection,
                data=list(vectors),
                limit=k,
                filter=condition,
                search_params=parameters,
                consistency_level="Strong",  # a search sees every change made before it
            )
        return [list(hits) for hits in found]

    def _upsert(self, labels: RowIndices, vectors: Float32Array) -> None:
        with _translated_errors(self._options):
            for chunk in _chunks(np.arange(len(labels))):
                rows = [{"label": int(labels[row]), "vector": vectors[row]} for row in chunk]
                self._client.upsert(self._options.collection, rows)

    def _count(self) -> int:
        with _translated_errors(self._options):
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
    """Return Milvus' hits as tables, as wide as the shortest result and at most ``k``."""
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


def _chunks(rows: RowIndices) -> Iterator[RowIndices]:
    return (rows[start : start + _ROWS_PER_CALL] for start in range(0, len(rows), _ROWS_PER_CALL))


@contextmanager
def _translated_errors(options: MilvusOptions) -> Iterator[None]:
    try:
        yield
    except MilvusException as error:
        raise NotReady(f"Milvus at {options.address} does not answer for {options.collection}: {error}") from error
