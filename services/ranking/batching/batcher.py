"""Reads pairs of all calls in batches: one queue, and worker threads that run its batches."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from common.arrays import Float32Array, Int64Array
from common.cpu import lower_thread_priority
from common.errors import DeadlineTooShort, NotReady
from common.gpu.failures import DeviceLost, OutOfDeviceMemory
from common.process.endless_loop import start_thread
from common.tracing.spans import Span
from services.ranking.batching.batch_queue import BatchQueue
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.cost_model import CostModel
from services.ranking.batching.job import Batch, Job, JobSlice
from services.ranking.pairs.pair_scores import PairScores
from services.ranking.pairs.pair_tokens import ModelInputs, TokenPairs
from services.ranking.request import CallContext

# (input_ids, attention_mask, token_type_ids), each int64[rows, tokens] -> float32[rows]; may raise.
Model = Callable[[Int64Array, Int64Array, Int64Array], Float32Array]
_log = structlog.get_logger()


@dataclass(frozen=True)
class BatchReport:
    """The size and time of one batch.

    Attributes:
        rows: How many pairs it had.
        tokens: How many tokens they had, without padding.
        padded_tokens: How many tokens the batch had, padding included.
        failed: How many pairs the model failed on.
        ms: How long the batch took.
        spans: The spans of the calls whose pairs it had, as far as they are traced.
    """

    rows: int
    tokens: int
    padded_tokens: int
    failed: int
    ms: float
    spans: Sequence[Span] = ()


def _ignore(report: BatchReport) -> None:
    del report


class Batcher:
    """Reads pairs in batches, on its own threads. Create and use it on one event loop; close it at the end.

    A pair on which the model fails gets NaN and affects no other pair. If a caller is cancelled, its waiting pairs are
    dropped. Scores are in the order of the pairs.

    Args:
        model: The cross-encoder; called from ``limits.workers`` threads at a time.
        cost: What batches cost.
        limits: The bounds of queue and batches.
        observe: Called with every batch before its callers are answered, in a worker thread.
        clock: The monotonic clock of deadlines, in seconds.
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
        self._threads = [start_thread(name, self._work, lambda: self._closed, begin=self._begin) for name in names]

    @property
    def queued_pairs(self) -> int:
        """How many pairs wait."""
        return self._queue.pairs

    async def score(self, pairs: TokenPairs, call: CallContext, *, allow_partial: bool = False) -> PairScores:
        """Read pairs.

        Args:
            pairs: The pairs; may be empty.
            call: By when and for whom they are read.
            allow_partial: If set, the pairs must be as many as were `affordable` just before. They are admitted, and
                the scores at the deadline are returned, NaN for pairs not read. Otherwise it is all or nothing.

        Raises:
            DeadlineTooShort: The pairs cannot be read in time; raised at once, or when they expire in the queue.
            Overloaded: Too many pairs wait.
            NotReady: The batcher is closed.
            RuntimeError: The model failed on every pair.
        """
        if not len(pairs):
            return PairScores.unread(0)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        complete, now = _completion(done), self._clock()
        job = self._queue.make_job(pairs, call, now=now, complete=complete, allow_partial=allow_partial)
        with self._changed:
            self._admit(job)
        try:
            # The timeout holds even if a batch takes far longer than planned.
            await asyncio.wait([done], timeout=max(call.deadline - now, 0.0))
        finally:  # also if the caller is cancelled
            with self._changed:
                self._queue.discard(job)
                scores = job.current_scores()
        if done.done():
            done.result()
        elif done.cancel() and not allow_partial:
            raise _too_late()
        return scores

    def affordable(self, lengths: Int64Array, call: CallContext, min_read_share: float = 0.0) -> int:
        """Return how many pairs of these lengths, from the first on, there is time for; see `BatchQueue.affordable`."""
        costs_ms = self._queue.cost.pairs_ms(lengths, self._queue.limits.padded_tokens)
        cumulative_cost_ms = np.cumsum(costs_ms)
        with self._changed:
            now = self._clock()
            return self._queue.affordable(cumulative_cost_ms, call.deadline, call.priority, now, min_read_share)

    def wait_s(self, pairs: float, call: CallContext) -> float:
        """Return how long until there is time for ``pairs`` more pairs; see `BatchQueue.wait_s`."""
        with self._changed:
            return self._queue.wait_s(pairs, call.deadline, call.priority, self._clock())

    def close(self) -> None:
        """Fail the calls that wait with NotReady, finish the batches that run, and end the threads."""
        with self._changed:
            self._closed = True
            for job in list(self._queue):
                self._fail(job, NotReady("the batcher was closed while the pairs waited; call again"))
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _admit(self, job: Job) -> None:
        if self._closed:
            raise NotReady("the batcher is closed; call again")
        self._queue.admit(job, self._clock())
        self._changed.notify_all()

    def _begin(self) -> None:
        # The model computes as long as there is work; threads that take and answer calls must come first.
        lower_thread_priority(self._queue.limits.nice)

    def _work(self) -> None:
        """Wait for a batch and run it."""
        if (batch := self._next_batch()) is None:
            return
        try:
            self._run(batch)
        except DeviceLost as error:  # logged once, where it was found
            self._observe(_report(batch, PairScores.unread(batch.rows).logits, self._clock()))
            self._abandon(batch, error)
        except Exception as error:  # noqa: BLE001 - the callers get it
            _log.exception("a batch could not be run", rows=batch.rows, tokens=batch.longest)
            self._abandon(batch, error)

    def _next_batch(self) -> Batch | None:
        """Wait for a batch; None once the batcher is closed."""
        with self._changed:
            while not self._closed:
                for job in self._queue.expire(self._clock()):
                    self._expire(job)
                if (batch := self._queue.next_batch(self._clock())) is not None:
                    return batch
                self._changed.wait()
        return None

    def _run(self, batch: Batch) -> None:
        logits = self._read(_assemble(batch))
        finished = self._clock()
        self._observe(_report(batch, logits, finished))
        with self._changed:
            self._queue.finish(batch, finished)
            for job in {rows.job for rows in batch.slices}:
                job.scores.infer_ms += (finished - batch.started) * 1e3
            start = 0
            for rows in batch.slices:
                self._deliver(rows, logits[start : start + len(rows)], batch, finished)
                start += len(rows)

    def _read(self, inputs: ModelInputs) -> Float32Array:
        """Run the model; if it fails, halve the batch until the pairs at fault are found, which get NaN.

        If the GPU has too little memory, later batches are smaller for a while. If it is lost, DeviceLost is raised.
        """
        try:
            return _checked(self._model(inputs.input_ids, inputs.attention_mask, inputs.token_type_ids), len(inputs))
        except DeviceLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the model raises, the batch's other pairs are read
            if isinstance(error, OutOfDeviceMemory):
                self._shrink(inputs.input_ids.size, error)
            if len(inputs) == 1:
                _log.exception("the cross-encoder failed on a pair", tokens=int(inputs.attention_mask.sum()))
                return PairScores.unread(1).logits
        middle = len(inputs) // 2
        halves = inputs.part(0, middle), inputs.part(middle, len(inputs))
        return np.concatenate([self._read(half) for half in halves])

    def _shrink(self, padded_tokens: int, error: OutOfDeviceMemory) -> None:
        with self._changed:
            bound = self._queue.shrink(padded_tokens, self._clock())
        _log.warning("batches are smaller for a while", max_batch_tokens=bound, reason=str(error))

    def _deliver(self, rows: JobSlice, logits: Float32Array, batch: Batch, finished: float) -> None:
        job, scores = rows.job, rows.job.scores
        scores.logits[rows.start : rows.stop] = logits
        scores.queue_wait_ms = max(scores.queue_wait_ms, (batch.started - job.submitted) * 1e3)
        scores.padded_tokens += len(rows) * batch.longest
        job.unfinished -= len(rows)
        scores.delivered += len(rows)
        scores.read_at = finished
        if job.unfinished == 0:
            self._queue.capacity.overrun.observe(finished - job.planned_end)
            all_failed = scores.failed == len(job.pairs) and scores.delivered == len(job.pairs)
            job.complete(RuntimeError("the cross-encoder failed on every pair") if all_failed else None)

    def _expire(self, job: Job) -> None:
        """Leave the rest of a job, already removed from the queue, unread. Its rows that run are waited for."""
        self._queue.capacity.overrun.observe(self._clock() - job.planned_end)
        if not job.allow_partial:
            job.complete(_too_late())
        elif job.unfinished == 0:
            job.complete(None)

    def _abandon(self, batch: Batch, error: Exception) -> None:
        """Fail the callers of a batch."""
        with self._changed:
            self._queue.finish(batch, self._clock())
            for job in {rows.job for rows in batch.slices}:
                self._fail(job, error)

    def _fail(self, job: Job, error: Exception) -> None:
        self._queue.discard(job)
        job.complete(error)


def _assemble(batch: Batch) -> ModelInputs:
    """Pad a batch's rows to its longest."""
    return ModelInputs.from_pairs(*(rows.job.pairs.part(rows.start, rows.stop) for rows in batch.slices))


def _checked(logits: Float32Array, rows: int) -> Float32Array:
    """Return a model's logits, NaN for those that are not finite; raises ValueError if the shape is wrong."""
    if logits.shape != (rows,):
        raise ValueError(f"the cross-encoder returned shape {list(logits.shape)} for {rows} pairs")
    return np.where(np.isfinite(logits), logits, np.nan)


def _report(batch: Batch, logits: Float32Array, finished: float) -> BatchReport:
    failed = int(np.count_nonzero(np.isnan(logits)))
    jobs = dict.fromkeys(rows.job for rows in batch.slices)
    spans = [job.span for job in jobs if job.span is not None]
    ms = (finished - batch.started) * 1e3
    return BatchReport(batch.rows, batch.read_tokens, batch.padded_tokens, failed, ms, spans)


def _too_late() -> DeadlineTooShort:
    return DeadlineTooShort("the pairs could not be read in time; allow more time")


def _completion(done: asyncio.Future[None]) -> Callable[[Exception | None], None]:
    """Return a function that resolves a future from any thread."""

    def resolve(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def complete(error: Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the caller is gone with it
            done.get_loop().call_soon_threadsafe(resolve, error)

    return complete
