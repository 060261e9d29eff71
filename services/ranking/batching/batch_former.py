"""Fills batches with rows of alike length from the jobs that wait."""

from __future__ import annotations

from typing import Final

from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.cost_model import CostModel
from services.ranking.batching.job import Batch, Job
from services.ranking.batching.job_order import JobOrder
from services.ranking.batching.memory_budget import MemoryBudget
from services.ranking.batching.waiting_jobs import WaitingJobs

# A batch is filled with other calls' pairs until its overhead is below this share of its cost. More pairs would only
# make the first caller wait.
_OVERHEAD_SHARE: Final = 0.03
# A short queue is shared between the workers as long as a batch still costs this many times its overhead.
_MIN_OVERHEADS: Final = 2.0


class BatchFormer:
    """Fills batches.

    Args:
        cost: What rows cost.
        limits: The bounds of a batch while memory suffices.
        waiting: The jobs to take rows from.

    Attributes:
        memory: How many tokens of a batch fit the memory.
    """

    def __init__(self, cost: CostModel, limits: BatchLimits, waiting: WaitingJobs) -> None:
        self._cost = cost
        self.memory = MemoryBudget(limits.padded_tokens)
        self._waiting = waiting

    def form(self, order: JobOrder, lead: Job, share_ms: float, left_ms: float, now: float) -> Batch:
        """Form a batch around the first job of an order.

        Args:
            order: Which jobs come next.
            lead: The first job of ``order``.
            share_ms: One worker's share of the work.
            left_ms: How much work one worker can do by the lead's deadline.
            now: The time.
        """
        batch = Batch(now)
        max_ms = min(max(share_ms, _MIN_OVERHEADS * self._cost.batch_ms), left_ms)
        bucket = max(lead.runs)
        self._waiting.move_rows(lead, bucket, self._room(batch, lead, bucket, max_ms), batch)
        if self._fill(batch, order, lead, bucket, min(max_ms, self._cost.batch_ms / _OVERHEAD_SHARE)):
            for shorter in range(bucket - 1, -1, -1):
                self._absorb(batch, order, lead, shorter, max_ms)
        return batch

    def _fill(self, batch: Batch, order: JobOrder, lead: Job, bucket: int, max_ms: float) -> bool:
        """Add rows of the same length and priority; returns whether there was room for all of them."""
        while (job := order.first(bucket)) is not None and job.priority == lead.priority:
            count = self._room(batch, job, bucket, max_ms)
            if count <= 0:
                return False
            self._waiting.move_rows(job, bucket, count, batch)
        return True

    def _absorb(self, batch: Batch, order: JobOrder, lead: Job, bucket: int, max_ms: float) -> None:
        """Add whole runs of a shorter bucket while one of their tokens, padded, costs no more than the batch's do.

        The batch's overhead counts as a cost of its tokens, so that a batch grows as long as that makes them cheaper.
        """
        while (job := order.first(bucket)) is not None and job.priority == lead.priority:
            start, stop = job.runs[bucket]
            row_ms = self._cost.rows_ms(batch.longest)
            token_ms = (self._cost.batch_ms + batch.rows * row_ms) / batch.read_tokens
            padded_ms = (stop - start) * row_ms / (job.cumulative_tokens[stop] - job.cumulative_tokens[start])
            if padded_ms > token_ms or self._room(batch, job, bucket, max_ms) < stop - start:
                return
            self._waiting.move_rows(job, bucket, stop - start, batch)

    def _room(self, batch: Batch, job: Job, bucket: int, max_ms: float) -> int:
        """Return how many rows of a run fit into the batch's tokens and ``max_ms``; at least one if it is empty."""
        tokens = max(batch.longest, job.length(job.runs[bucket][0]))
        rows = self.memory.tokens(batch.started) // max(tokens, 1)
        row_ms = self._cost.rows_ms(tokens)
        if row_ms > 0:
            rows = min(rows, int(max_ms / row_ms))
        return rows - batch.rows if batch.rows else max(rows, 1)
