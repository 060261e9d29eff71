"""The jobs that wait, in two orders, with their totals."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from services.ranking.batching.job import Batch, Job, JobSlice
from services.ranking.batching.job_order import JobOrder


class WaitingJobs:
    """The jobs that wait.

    Attributes:
        by_deadline: The jobs by priority and planned end.
        by_fair_share: The jobs by priority and virtual finish time.
        pairs: How many pairs wait.
        cost_ms: What they cost.
    """

    def __init__(self) -> None:
        self.by_deadline = JobOrder(attrgetter("deadline_key"))
        self.by_fair_share = JobOrder(attrgetter("fair_share_key"))
        self.pairs = 0
        self.cost_ms = 0.0

    def __iter__(self) -> Iterator[Job]:
        """Iterate over the jobs by priority and planned end."""
        return iter(self.by_deadline)

    def add(self, job: Job) -> None:
        """Add a job, whose order keys must be set."""
        self.by_deadline.add(job)
        self.by_fair_share.add(job)
        self.pairs += job.waiting
        self.cost_ms += job.waiting_ms

    def remove(self, job: Job) -> None:
        """Remove a job and forget the pairs of it that wait."""
        self.by_deadline.remove(job)
        self.by_fair_share.remove(job)
        self._subtract(job.waiting, job.waiting_ms)
        job.waiting, job.waiting_ms = 0, 0.0
        job.runs.clear()

    def move_rows(self, job: Job, bucket: int, count: int, batch: Batch) -> None:
        """Move the first ``count`` rows of a job's run into a batch, or all if there are fewer."""
        start, stop = job.runs[bucket]
        rows = JobSlice(job, start, min(start + count, stop))
        cost_ms = rows.cost_ms
        batch.add(rows, cost_ms)
        if len(rows) == job.waiting:
            self.by_deadline.remove(job)
            self.by_fair_share.remove(job)
        elif rows.stop == stop:
            self.by_deadline.remove_from_bucket(job, bucket)
            self.by_fair_share.remove_from_bucket(job, bucket)
        job.waiting -= len(rows)
        job.waiting_ms -= cost_ms
        if rows.stop == stop:
            del job.runs[bucket]
        else:
            job.runs[bucket] = rows.stop, stop
        self._subtract(len(rows), cost_ms)

    def _subtract(self, pairs: int, cost_ms: float) -> None:
        self.pairs -= pairs
        # Rounding may leave a small cost without pairs.
        self.cost_ms = max(self.cost_ms - cost_ms, 0.0) if self.pairs else 0.0
