"""The batcher: one queue across requests, worker threads that run its batches, answers that find their callers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from common.arrays import Float32Array, Int64Array
from common.errors import DeadlineTooShort, NotReady
from services.ranking.batching.batch_queue import BatchQueue
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.cost_model import CostModel
from services.ranking.batching.job import Batch, Job, JobSlice, Priority
from services.ranking.pairs.pair_scores import PairScores
from services.ranking.pairs.pair_tokens import ModelInputs, TokenPairs

# (input_ids, attention_mask, token_type_ids), each int64[rows, tokens] -> float32[rows]; raises where it can't.
Model = Callable[[Int64Array, Int64Array, Int64Array], Float32Array]


# By how much the priority of threads that compute is below that of the others.
_NICE: Final = 15


_log = structlog.get_logger()


@dataclass(frozen=True)
class BatchReport:
    """What one batch was.

    Attributes:
        rows: Pairs in it.
        tokens: Their tokens without padding.
        padded_tokens: With padding.
        failed: Pairs that the model failed on.
        ms: How long it took.
    """

    rows: int
    tokens: int
    padded_tokens: int
    failed: int
    ms: float


def _ignore(report: BatchReport) -> None:
    del report


class Batcher:
    """Reads pairs in batches, on threads of its own. Make it and use it on an event loop; close it at the end.

    A pair on which the model fails gets NaN and harms no other; a caller that is cancelled takes its waiting pairs
    along. Scores come back in the order of the pairs.

    Args:
        model: The cross-encoder; called from ``limits.workers`` threads at a time.
        cost: What batches cost.
        limits: The bounds of batches and queue.
        observe: Told of every batch before its callers are, in a worker thread.
        clock: Monotonic seconds; deadlines are in its terms.
    """

    def __init__(
        self,
        model: Model,
        cost: CostModel,
        limits: BatchLimits,
        observe: Callable[[BatchReport], None] = _ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._queue = BatchQueue(cost, limits)
        self._observe = observe
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        names = (f"batcher-{number}" for number in range(limits.workers))
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
        for thread in self._threads:
            thread.start()

    @property
    def max_queued_pairs(self) -> int:
        """How many pairs wait."""
        return self._queue.pairs

    async def score(
        self,
        pairs: TokenPairs,
        deadline: float,
        priority: Priority = Priority.INTERACTIVE,
        owner: str = "",
        *,
        anytime: bool = False,
    ) -> PairScores:
        """Read pairs.

        Args:
            pairs: What to read; none is fine.
            deadline: When the scores must be there, in seconds of the clock.
            priority: Who waits.
            owner: The caller, among whom turns are taken.
            anytime: For as many pairs as were `affordable` just now: they are admitted, and what is read by the
                deadline is answered, NaN for the others. Else it is all or nothing.

        Raises:
            DeadlineTooShort: It cannot be done in time; told at once, or when the work expires in the queue.
            Overloaded: Too many pairs wait.
            NotReady: The batcher is closed.
            RuntimeError: The model failed on every pair.
        """
        if not len(pairs):
            return PairScores.unread(0)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        settle, now = _settler(answer), self._clock()
        job = self._queue.job(pairs, deadline, priority, owner, now=now, settle=settle, anytime=anytime)
        with self._changed:
            self._admit(job)
        try:
            # A batch that takes far longer than planned keeps nobody past the deadline.
            await asyncio.wait([answer], timeout=max(deadline - now, 0.0))
        finally:  # also where the caller is cancelled
            with self._changed:
                self._queue.discard(job)
                scores = job.answer()
        if answer.done():
            answer.result()
        elif answer.cancel() and not anytime:
            raise _too_late()
        return scores

    def affordable(
        self,
        lengths: Int64Array,
        deadline: float,
        priority: Priority = Priority.INTERACTIVE,
        min_read_share: float = 0.0,
    ) -> int:
        """Return how many of these pairs, from the first on, there is time for; see `BatchQueue.affordable`."""
        spent_ms = np.cumsum(self._queue.pair_ms(lengths))
        with self._changed:
            return self._queue.affordable(spent_ms, deadline, priority, self._clock(), min_read_share)

    def wait_s(self, pairs: float, deadline: float, priority: Priority) -> float:
        """Return how long to wait until there is time for so many pairs; see `BatchQueue.wait_s`."""
        with self._changed:
            return self._queue.wait_s(pairs, deadline, priority, self._clock())

    def close(self) -> None:
        """Fail what waits with NotReady, finish the batches that run, and end the threads."""
        with self._changed:
            self._closed = True
            for job in list(self._queue):
                self._fail(job, NotReady("the batcher was closed; call again"))
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _admit(self, job: Job) -> None:
        if self._closed:
            raise NotReady("the batcher is closed; call again")
        self._queue.admit(job, self._clock())
        self._changed.notify_all()

    def _work(self) -> None:
        _give_way()
        while (batch := self._next_batch()) is not None:
            try:
                self._run(batch)
            except Exception as error:  # noqa: BLE001 - the thread must live on for the other callers
                _log.exception("a batch could not be run", rows=batch.rows, tokens=batch.tokens)
                self._abandon(batch, error)

    def _next_batch(self) -> Batch | None:
        """Wait for a batch; None when closed."""
        with self._changed:
            while not self._closed:
                for job in self._queue.expire(self._clock()):
                    self._give_up(job)
                if (batch := self._queue.take(self._clock())) is not None:
                    return batch
                self._changed.wait()
        return None

    def _run(self, batch: Batch) -> None:
        logits = self._read(_assemble(batch))
        finished = self._clock()
        self._observe(_report(batch, logits, finished))
        with self._changed:
            self._queue.finished(batch, finished)
            for job in {part.job for part in batch.parts}:
                job.scores.infer_ms += (finished - batch.started) * 1e3
            first = 0
            for part in batch.parts:
                self._deliver(part, logits[first : first + len(part)], batch, finished)
                first += len(part)

    def _read(self, inputs: ModelInputs) -> Float32Array:
        """Run the model; where it fails, halve the batch until the pairs at fault are found: they get NaN."""
        try:
            return _checked(self._model(inputs.input_ids, inputs.attention_mask, inputs.token_type_ids), len(inputs))
        except Exception:  # noqa: BLE001 - whatever the model raises, its batch-mates are to be read
            if len(inputs) == 1:
                _log.exception("the cross-encoder failed on a pair", tokens=int(inputs.attention_mask.sum()))
                return np.full(1, np.nan, dtype=np.float32)
        middle = len(inputs) // 2
        halves = inputs.part(0, middle), inputs.part(middle, len(inputs))
        return np.concatenate([self._read(half) for half in halves])

    def _deliver(self, part: JobSlice, logits: Float32Array, batch: Batch, finished: float) -> None:
        job, scores = part.job, part.job.scores
        scores.logits[part.start : part.stop] = logits
        scores.queue_wait_ms = max(scores.queue_wait_ms, (batch.started - job.submitted) * 1e3)
        scores.padded_tokens += len(part) * batch.tokens
        job.unfinished -= len(part)
        scores.delivered += len(part)
        scores.read_at = finished
        if job.unfinished == 0:
            self._queue.capacity.overrun.observe(finished - job.deadline)
            everything_failed = scores.failed == len(job.pairs) and scores.delivered == len(job.pairs)
            job.settle(RuntimeError("the cross-encoder failed on every pair") if everything_failed else None)

    def _give_up(self, job: Job) -> None:
        """Leave what is left of a job, taken out of the queue, unread; its rows under way are waited for."""
        self._queue.capacity.overrun.observe(self._clock() - job.deadline)
        if not job.anytime:
            job.settle(_too_late())
        elif job.unfinished == 0:
            job.settle(None)

    def _abandon(self, batch: Batch, error: Exception) -> None:
        """Fail the callers of a batch, so that the thread lives on for the others."""
        with self._changed:
            self._queue.finished(batch, self._clock())
            for job in {part.job for part in batch.parts}:
                self._fail(job, error)

    def _fail(self, job: Job, error: Exception) -> None:
        self._queue.discard(job)
        job.settle(error)


def _assemble(batch: Batch) -> ModelInputs:
    """Pad a batch's rows to its longest."""
    return ModelInputs.of(*(part.job.pairs.part(part.start, part.stop) for part in batch.parts))


def _checked(logits: Float32Array, rows: int) -> Float32Array:
    """Return a model's logits, NaN where they are no numbers."""
    if logits.shape != (rows,):
        raise ValueError(f"the cross-encoder answered shape {list(logits.shape)} to {rows} pairs")
    return np.where(np.isfinite(logits), logits, np.nan)


def _report(batch: Batch, logits: Float32Array, finished: float) -> BatchReport:
    failed = int(np.count_nonzero(np.isnan(logits)))
    return BatchReport(batch.rows, batch.read_tokens, batch.padded_tokens, failed, (finished - batch.started) * 1e3)


def _too_late() -> DeadlineTooShort:
    return DeadlineTooShort("the pairs could not be read in time; allow more time")


def _give_way() -> None:
    """Let the threads that take and give answers pass this one, which computes for as long as there is work."""
    if sys.platform == "linux":  # where priorities are those of threads
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)


def _settler(answer: asyncio.Future[None]) -> Callable[[Exception | None], None]:
    """Return what resolves a future from any thread."""

    def resolve(error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)

    def settle(error: Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the caller gone with it
            answer.get_loop().call_soon_threadsafe(resolve, error)

    return settle
