"""Queries to embeddings: cached, and batched across the calls that wait at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from common.arrays import Float32Array
from common.cache import LruCache
from common.errors import NotReady, Overloaded
from services.retrieval.encoding.text_encoder import TextEncoder

Waiting = tuple[str, "Future[Float32Array]"]


@dataclass(frozen=True)
class QueryEncoderOptions:
    """Bounds of the query encoder.

    Attributes:
        prefix: Goes before each query, where the model was trained with one, such as "query: ".
        cached: How many query vectors are kept.
        batch: How many queries one pass encodes at most.
        waiting: How many queries may wait; more are refused.
    """

    prefix: str = ""
    cached: int = 10_000
    batch: int = 32
    waiting: int = 1_000


class QueryEncoder:
    """Embeds queries on a thread of its own: what queued while one batch ran makes up the next.

    A lone query thus waits for nobody, and under load the batches grow by themselves.

    Args:
        encoder: Embeds the batches.
        options: Bounds.
        on_batch: Told how many queries each batch encoded, in this class's thread.
    """

    def __init__(
        self, encoder: TextEncoder, options: QueryEncoderOptions, on_batch: Callable[[int], None] | None = None
    ) -> None:
        self._encoder = encoder
        self._options = options
        self._on_batch = on_batch
        self._cache: LruCache[str, Float32Array] = LruCache(options.cached)
        self._waiting: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="query-encoder", daemon=True)
        self._thread.start()

    def submit(self, queries: Sequence[str]) -> list[Future[Float32Array]]:
        """Return the embedding to come of each query, shape [dimension]; cancelling one spares its work.

        Raises:
            Overloaded: Too many queries wait; none of these does.
            NotReady: The encoder was closed.
        """
        futures: list[Future[Float32Array]] = [Future() for _ in queries]
        waiting = []
        for query, future in zip(queries, futures, strict=True):
            vector = self._cache.get(query)
            if vector is None:
                waiting.append((query, future))
            else:
                future.set_result(vector)
        self._enqueue(waiting)
        return futures

    def encode(self, queries: Sequence[str]) -> Float32Array:
        """Embed queries and wait for it; shape [queries, dimension]. Any number: a batch is submitted at a time."""
        vectors = np.empty((len(queries), self._encoder.dimension), dtype=np.float32)
        for start in range(0, len(queries), self._options.batch):
            futures = self.submit(queries[start : start + self._options.batch])
            for number, future in enumerate(futures, start):
                vectors[number] = future.result()
        return vectors

    def close(self) -> None:
        """End the thread once the batch under way is done; queries that wait fail with NotReady."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _enqueue(self, waiting: list[Waiting]) -> None:
        with self._changed:
            if self._closed:
                raise NotReady("this release is no longer served; call again")
            if len(self._waiting) + len(waiting) > self._options.waiting:
                raise Overloaded(f"{len(self._waiting)} queries wait to be encoded; call again later")
            self._waiting.extend(waiting)
            self._changed.notify()

    def _work(self) -> None:
        while batch := self._next_batch():
            claimed = [(query, future) for query, future in batch if future.set_running_or_notify_cancel()]
            if claimed:
                self._answer(claimed)
        for _, future in self._waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(NotReady("this release is no longer served; call again"))

    def _next_batch(self) -> list[Waiting]:
        """Wait for queries and take a batch of them; empty when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return []
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._options.batch))]

    def _answer(self, batch: list[Waiting]) -> None:
        try:
            vectors = self._vectors([query for query, _ in batch])
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and the thread lives on
            for _, future in batch:
                future.set_exception(error)
            return
        for query, future in batch:
            future.set_result(vectors[query])

    def _vectors(self, queries: list[str]) -> dict[str, Float32Array]:
        """Embed each distinct query once; some may have been cached while they waited."""
        found = {query: self._cache.get(query) for query in queries}
        missing = [query for query, vector in found.items() if vector is None]
        vectors = {query: vector for query, vector in found.items() if vector is not None}
        if missing:
            encoded = self._encoder.encode([self._options.prefix + query for query in missing])
            for query, vector in zip(missing, encoded, strict=True):
                vectors[query] = vector.copy()  # a view would keep the whole batch alive
                self._cache.put(query, vectors[query])
            if self._on_batch:
                self._on_batch(len(missing))
        return vectors
