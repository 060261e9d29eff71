"""Embeds queries: with a cache, and in batches across calls."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from common.arrays import Float32Array
from common.cache import LruCache
from common.errors import NotReady, Overloaded
from common.process.endless_loop import start_thread
from services.retrieval.encoding.text_encoder import TextEncoder


class _QueuedQuery(NamedTuple):
    """A query that waits to be embedded."""

    text: str
    vector: Future[Float32Array]


@dataclass(frozen=True)
class QueryEncoderOptions:
    """Bounds of the query encoder.

    Attributes:
        prefix: Text put before each query, such as "query: ", if the model was trained with one.
        cache_size: How many query vectors are cached.
        max_batch: The most queries in one encoder pass.
        max_queued: The most queries that may wait; more are refused.
    """

    prefix: str = ""
    cache_size: int = 10_000
    max_batch: int = 32
    max_queued: int = 1_000


class QueryEncoder:
    """Embeds queries on its own thread. The queries that arrive during one batch make up the next one.

    A query that finds the thread idle therefore starts at once, and batches grow only under load.

    Args:
        encoder: Embeds the batches.
        options: Bounds.
        on_batch: Called with the number of queries in each batch, on this class's thread.
    """

    def __init__(
        self, encoder: TextEncoder, options: QueryEncoderOptions, on_batch: Callable[[int], None] | None = None
    ) -> None:
        self._encoder = encoder
        self._options = options
        self._on_batch = on_batch
        self._cache: LruCache[str, Float32Array] = LruCache(options.cache_size)
        self._queue: deque[_QueuedQuery] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = start_thread("query-encoder", self._encode_next, lambda: self._closed)

    def submit(self, queries: Sequence[str]) -> list[Future[Float32Array]]:
        """Return a future of each query's embedding, shape [dimension]. Cancelling a future saves its work.

        Raises:
            Overloaded: Too many queries wait; none of these was queued.
            NotReady: The encoder was closed.
        """
        futures: list[Future[Float32Array]] = [Future() for _ in queries]
        missing = []
        for query, future in zip(queries, futures, strict=True):
            vector = self._cache.get(query)
            if vector is None:
                missing.append(_QueuedQuery(query, future))
            else:
                future.set_result(vector)
        self._enqueue(missing)
        return futures

    def encode(self, queries: Sequence[str]) -> Float32Array:
        """Embed any number of queries and wait for them, one batch after the other; shape [queries, dimension]."""
        vectors = np.empty((len(queries), self._encoder.dimension), dtype=np.float32)
        for start in range(0, len(queries), self._options.max_batch):
            futures = self.submit(queries[start : start + self._options.max_batch])
            for number, future in enumerate(futures, start):
                vectors[number] = future.result()
        return vectors

    def close(self) -> None:
        """End the thread after the batch it is working on; queued queries fail with NotReady."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        while self._queue:
            query = self._queue.popleft()
            if query.vector.set_running_or_notify_cancel():
                query.vector.set_exception(NotReady("this release is no longer served; call again"))

    def _enqueue(self, queries: list[_QueuedQuery]) -> None:
        with self._changed:
            if self._closed:
                raise NotReady("this release is no longer served; call again")
            if len(self._queue) + len(queries) > self._options.max_queued:
                raise Overloaded(f"{len(self._queue)} queries wait to be encoded; call again later")
            self._queue.extend(queries)
            self._changed.notify()

    def _encode_next(self) -> None:
        claimed = [query for query in self._next_batch() if query.vector.set_running_or_notify_cancel()]
        if claimed:
            self._encode_batch(claimed)

    def _next_batch(self) -> list[_QueuedQuery]:
        """Wait for queries and take a batch of them; empty once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._queue)
            if self._closed:
                return []
            return [self._queue.popleft() for _ in range(min(len(self._queue), self._options.max_batch))]

    def _encode_batch(self, batch: list[_QueuedQuery]) -> None:
        try:
            vectors = self._vectors([query.text for query in batch])
        except Exception as error:  # noqa: BLE001 - every caller gets it, and the thread goes on
            for query in batch:
                query.vector.set_exception(error)
            return
        for query in batch:
            query.vector.set_result(vectors[query.text])

    def _vectors(self, queries: list[str]) -> dict[str, Float32Array]:
        """Embed each distinct query once; an earlier batch may have cached some of them meanwhile."""
        cached = {query: self._cache.get(query) for query in queries}
        missing = [query for query, vector in cached.items() if vector is None]
        vectors = {query: vector for query, vector in cached.items() if vector is not None}
        if missing:
            encoded = self._encoder.encode([self._options.prefix + query for query in missing])
            for query, vector in zip(missing, encoded, strict=True):
                vectors[query] = vector.copy()  # a view would keep the whole batch in memory
                self._cache.put(query, vectors[query])
            if self._on_batch:
                self._on_batch(len(missing))
        return vectors
