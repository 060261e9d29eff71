"""Recall of live searches: a sample of them is also answered exactly, in the background."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from common.arrays import Float32Array
from common.cpu import lower_thread_priority
from common.process.endless_loop import start_thread
from services.retrieval.catalogue.scored_items import ScoredItems
from services.retrieval.index.reachability import TIE
from services.retrieval.search.allowed_items import AllowedItems

# The fraction of one core that exact searches may take.
_CPU_SHARE: Final = 0.02
_MAX_WAITING: Final = 4


class RecallSample(NamedTuple):
    """A search and its result.

    Attributes:
        query: A unit vector; shape [dimension].
        k: How many items were asked for.
        allowed: The items that could be found.
        found: What was found.
    """

    query: Float32Array
    k: int
    allowed: AllowedItems
    found: ScoredItems


ExactSearch = Callable[[Float32Array, int, AllowedItems], ScoredItems]


class RecallMonitor:
    """Samples searches, answers them exactly on a thread of its own, and reports their recall.

    It takes at most a fiftieth of one core; samples that come faster are dropped.

    Args:
        share: The fraction of searches to sample, 0 to 1.
        search_exactly: Answers a search by comparing every allowed item.
        report: Is called on this class's thread with the recall of each sample, 0 to 1.
    """

    def __init__(self, share: float, search_exactly: ExactSearch, report: Callable[[float], None]) -> None:
        self._share = share
        self._search_exactly = search_exactly
        self._report = report
        self._generator = np.random.default_rng()
        self._samples: queue.Queue[RecallSample | None] = queue.Queue(_MAX_WAITING)
        self._closed = threading.Event()
        self._thread = start_thread("recall", self._work, self._closed.is_set, begin=lower_thread_priority)

    def offer(self, sample: RecallSample) -> None:
        """Sample this search with the probability `share`; returns at once."""
        if self._generator.random() < self._share:
            try:
                self._samples.put_nowait(sample)
            except queue.Full:
                return

    def close(self) -> None:
        """End the thread after the sample under way."""
        self._closed.set()
        with self._samples.mutex:
            self._samples.queue.clear()
        self._samples.put(None)
        self._thread.join()

    def _work(self) -> None:
        """Wait for a sample, and report its recall."""
        if (sample := self._samples.get()) is None:
            return
        began = time.thread_time()
        self._report(recall(sample, self._search_exactly(sample.query, sample.k, sample.allowed)))
        self._closed.wait((time.thread_time() - began) * (1 / _CPU_SHARE - 1))


def recall(sample: RecallSample, exact: ScoredItems) -> float:
    """Return the share of the nearest items that were found; items as near as the last of them count too."""
    if not len(exact.scores):
        return 1.0
    near = int((sample.found.scores >= exact.scores[-1] - TIE).sum())
    return min(1.0, near / len(exact.scores))
