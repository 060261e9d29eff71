"""Recall of live searches: a sample of them is answered exactly as well, in the background."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import structlog

from common.arrays import Float32Array
from common.cpu import lower_thread_priority
from services.retrieval.catalogue.scored_items import ScoredItems
from services.retrieval.index.reachability import TIE
from services.retrieval.search.allowed_items import AllowedItems

# What the exact answers may take of one core.
_BUSY_SHARE: Final = 0.02
_WAITING: Final = 4


_log = structlog.get_logger()


class RecallSample(NamedTuple):
    """A search as it was answered.

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


Exact = Callable[[Float32Array, int, AllowedItems], ScoredItems]


class RecallMonitor:
    """Draws searches, answers them exactly on a thread of its own, and tells what share was found.

    It takes a fiftieth of one core at most: samples that come faster are let go.

    Args:
        share: The share of searches drawn, 0 to 1.
        exact: Answers a search by comparing every allowed item.
        tell: Told each sample's recall, 0 to 1, in this class's thread.
    """

    def __init__(self, share: float, exact: Exact, tell: Callable[[float], None]) -> None:
        self._share = share
        self._exact = exact
        self._tell = tell
        self._draw = np.random.default_rng()
        self._samples: queue.Queue[RecallSample | None] = queue.Queue(_WAITING)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="recall", daemon=True)
        self._thread.start()

    def offer(self, sample: RecallSample) -> None:
        """Draw this search perhaps; returns at once."""
        if self._draw.random() < self._share:
            try:
                self._samples.put_nowait(sample)
            except queue.Full:
                return

    def close(self) -> None:
        """End once the sample under way is done."""
        self._closed.set()
        with self._samples.mutex:
            self._samples.queue.clear()
        self._samples.put(None)
        self._thread.join()

    def _work(self) -> None:
        lower_thread_priority()
        while (sample := self._samples.get()) is not None:
            began = time.thread_time()
            try:
                self._tell(recall(sample, self._exact(sample.query, sample.k, sample.allowed)))
            except Exception:  # noqa: BLE001 - searching goes on without it
                _log.exception("a search could not be answered exactly")
            else:
                self._closed.wait((time.thread_time() - began) * (1 / _BUSY_SHARE - 1))


def recall(sample: RecallSample, exact: ScoredItems) -> float:
    """Return the share of what is nearest that was found; items as near as the last of them count too."""
    if not len(exact.scores):
        return 1.0
    near = int((sample.found.scores >= exact.scores[-1] - TIE).sum())
    return min(1.0, near / len(exact.scores))
