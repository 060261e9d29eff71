"""Schedules the pairs that wait: which come next, and which are refused because they would come too late.

    calls          A: #####===--      B: #==      C: =---       pairs by length: # long, = medium, - short
                     |                  |           |
    make_job       one Job a call: its pairs sorted by length and cut into runs of one length bucket
                     |                  |           |
    admit          is there time for it, and for every job admitted before?  (Capacity, CostModel)
                     v                  v           v
    WaitingJobs    by deadline:   B | A | C       if time is short, the earliest deadline comes first
                   by fair share: C | B | A       otherwise callers take turns
                     |
    next_batch     the longest run of the first job, then rows of the same bucket from other jobs, then shorter runs
                     v                                                                         (BatchFormer)
    batches        [#### of B and A]  [## of A]  [=== of A, B and C]  ...
                     v
    Batcher        runs batches on its worker threads and completes the jobs

Nothing here is done for each pair in Python: a job costs a few numpy calls, a batch a walk over the jobs that wait, at
most a few hundred. The caller gives the time, in seconds of one monotonic clock, so that scheduling is deterministic.
Costs are milliseconds of one worker as the cost model's fit counts them, before its correction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from common.arrays import Float64Array
from common.errors import DeadlineTooShort, Overloaded
from services.ranking.batching.batch_former import BatchFormer
from services.ranking.batching.capacity import BatchLimits, Capacity
from services.ranking.batching.cost_model import CostModel
from services.ranking.batching.job import Batch, Job, contiguous_runs
from services.ranking.batching.job_order import FairShareClock
from services.ranking.batching.waiting_jobs import WaitingJobs
from services.ranking.pairs.pair_scores import PairScores
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import CallContext, Priority

# The weight of the latest job in the mean cost of a pair.
_TYPICAL_WEIGHT: Final = 0.05
_MIN_RETRY_S: Final = 0.01


class BatchQueue:
    """Jobs that wait, and the batches that run. Not safe to share between threads without a lock.

    While every job can be finished in time in any order, jobs are served by virtual finish time: when a job would be
    done if its caller had the workers alone (fair queueing). Small jobs then pass large ones, and one caller's flood
    waits behind other callers. If time is short, the earliest deadline comes first, which meets every deadline if any
    order does (Liu and Layland, 1973).

    Attributes:
        cost: What batches cost.
        limits: The bounds of queue and batches.
        capacity: The workers' time.
    """

    def __init__(self, cost: CostModel, limits: BatchLimits) -> None:
        self.cost = cost
        self.limits = limits
        self.capacity = Capacity(cost, limits)
        self._waiting = WaitingJobs()
        self._former = BatchFormer(cost, limits, self._waiting)
        self._in_flight: set[Batch] = set()
        self._fair_share = FairShareClock()
        self._serials = itertools.count()
        self._typical_pair_ms = 0.0

    def __iter__(self) -> Iterator[Job]:
        """Iterate over the jobs that wait, by priority and planned end."""
        return iter(self._waiting)

    @property
    def pairs(self) -> int:
        """How many pairs wait."""
        return self._waiting.pairs

    def make_job(
        self,
        pairs: TokenPairs,
        call: CallContext,
        *,
        now: float,
        complete: Callable[[Exception | None], None],
        allow_partial: bool = False,
    ) -> Job:
        """Make a job of pairs, not yet admitted. Reads no shared state but whether other jobs wait.

        Args:
            pairs: The pairs.
            call: By when and for whom they are read.
            now: The time.
            complete: See `Job`.
            allow_partial: See `Job`.
        """
        pairs = pairs.take(order := np.argsort(-pairs.lengths, kind="stable"))
        costs_ms = self.cost.pairs_ms(pairs.lengths, self.limits.padded_tokens)
        return Job(
            pairs,
            call.deadline,
            self._planned_end(call.deadline, now),
            call.priority,
            call.caller,
            now,
            order,
            pairs.rows.offsets.tolist(),
            [0.0, *np.cumsum(costs_ms).tolist()],
            contiguous_runs(pairs.lengths),
            PairScores.unread(len(pairs)),
            complete,
            allow_partial,
            call.span,
        )

    def admit(self, job: Job, now: float) -> None:
        """Queue a job. Whether there is time is checked only for a job that takes no partial result.

        A job that takes a partial result has as many pairs as were affordable just before; see `affordable`.

        Raises:
            Overloaded: Too many pairs wait already.
            DeadlineTooShort: The job could not be done in time, or would make another job late.
        """
        waiting = self._waiting.pairs
        if waiting + len(job.pairs) > self.limits.max_queued_pairs:
            message = f"{waiting} of {self.limits.max_queued_pairs} pairs wait already; try again later"
            raise Overloaded(message, retry_after_s=max(self.drain_s(), _MIN_RETRY_S))
        if not job.allow_partial and job.waiting_ms > self.spare_ms(job.planned_end, job.priority, now):
            raise DeadlineTooShort(
                f"{len(job.pairs)} pairs cannot be read within {max(job.planned_end - now, 0.0):.3f} s while {waiting} "
                "others wait; allow more time or rank fewer candidates"
            )
        serial = next(self._serials)
        finish_time = self._fair_share.advance(job.caller, self.capacity.seconds(job.waiting_ms), now)
        job.deadline_key = job.priority, job.planned_end, serial
        job.fair_share_key = job.priority, finish_time, serial
        self.capacity.longest = max(self.capacity.longest, job.length(0))
        weight = _TYPICAL_WEIGHT if self._typical_pair_ms else 1.0
        self._typical_pair_ms += weight * (job.waiting_ms / job.waiting - self._typical_pair_ms)
        self._waiting.add(job)

    def affordable(
        self, cumulative_cost_ms: Float64Array, deadline: float, priority: Priority, now: float, min_read_share: float
    ) -> int:
        """Return how many pairs there is time for.

        Args:
            cumulative_cost_ms: What the first, the first two, … pairs cost together; see `CostModel.pairs_ms`.
            deadline: When they must have been read.
            priority: Who waits for them.
            now: The time.
            min_read_share: If other jobs leave time for less than this share of the pairs that could be read without
                them, the result is 0: a few pairs are not worth waiting for.
        """
        planned_end = self._planned_end(deadline, now)
        alone_ms = self.capacity.usable_ms((planned_end - now) * self.capacity.ms_per_s)
        times_ms = [self.spare_ms(planned_end, priority, now), alone_ms]
        # Rounding must not make an affordable pair unaffordable.
        count, alone = np.searchsorted(cumulative_cost_ms * (1 - 1e-9), times_ms, side="right").tolist()
        return count if count >= min_read_share * alone else 0

    def wait_s(self, pairs: float, deadline: float, priority: Priority, now: float) -> float:
        """Return how long until there is time for ``pairs`` more pairs of typical cost; 0 if there is time now."""
        spare_ms = self.spare_ms(self._planned_end(deadline, now), priority, now)
        return max(self.capacity.seconds(pairs * self._typical_pair_ms - spare_ms), 0.0)

    def spare_ms(self, planned_end: float, priority: Priority, now: float) -> float:
        """Return how much work to end by ``planned_end`` fits without making a job of its priority or above late.

        The work planned to end by each point in time must fit the workers' time until then (the processor demand test
        of earliest deadline first). Jobs of lower priority do not count.
        """
        ms_per_s = self.capacity.ms_per_s
        spare = math.inf
        ahead = demand = self._in_flight_ms(now)
        for job in self._waiting:
            if job.priority > priority:
                break
            demand += job.waiting_ms
            if (job.priority, job.planned_end) <= (priority, planned_end):
                ahead = demand
            else:
                spare = min(spare, (job.planned_end - now) * ms_per_s - demand)
        return self.capacity.usable_ms(min(spare, (planned_end - now) * ms_per_s - ahead))

    def drain_s(self) -> float:
        """Return how long the work that waits takes."""
        return self.capacity.seconds(self._waiting.cost_ms)

    def expire(self, now: float) -> list[Job]:
        """Remove and return the jobs that can no longer be done in time, before they cost more.

        A job that takes a partial result stays until there is no time for even one of its rows.
        """
        if self._has_slack(now):
            return []
        late = [job for job in self._waiting if now + self._min_s(job) > job.deadline]
        for job in late:
            self.discard(job)
        return late

    def discard(self, job: Job) -> None:
        """Remove a job, if it waits: its caller is gone, or it failed."""
        if job.waiting:
            job.unfinished -= job.waiting
            self._waiting.remove(job)

    def next_batch(self, now: float) -> Batch | None:
        """Form the next batch; None if nothing waits."""
        order = self._waiting.by_deadline if self._short_of_time(now) else self._waiting.by_fair_share
        lead = order.first()
        if lead is None:
            return None
        # With equal shares, counting what they are reading now, all workers end at the same time.
        share_ms = (self._waiting.cost_ms + self._in_flight_ms(now)) / self.limits.workers
        left_ms = max((lead.deadline - now) * 1e3 / self.cost.correction, 0.0)
        batch = self._former.form(order, lead, share_ms, left_ms, now)
        self._in_flight.add(batch)
        return batch

    def shrink(self, padded_tokens: int, now: float) -> int:
        """Form smaller batches for a while, since one did not fit the memory; see `MemoryBudget.shrink`."""
        return self._former.memory.shrink(padded_tokens, now)

    def finish(self, batch: Batch, now: float) -> None:
        """Record that a batch has run; a second call does nothing."""
        if batch in self._in_flight:
            self._in_flight.remove(batch)
            self.cost.observe(batch.cost_ms, (now - batch.started) * 1e3)

    def _has_slack(self, now: float) -> bool:
        """Return whether all that waits could be done by the earliest planned end, and a batch of each worker before.

        A walk over the jobs would find slack more often, but takes as long as forming a batch if there are many
        callers.
        """
        first = min((job.planned_end for job in self._waiting), default=math.inf)
        spare_ms = (first - now) * self.capacity.ms_per_s - self._in_flight_ms(now) - self._waiting.cost_ms
        return self.capacity.usable_ms(spare_ms) >= self.limits.workers * self.capacity.largest_batch_ms()

    def _short_of_time(self, now: float) -> bool:
        """Return whether one batch out of order could make a job of the first priority late."""
        if self._has_slack(now):
            return False
        ms_per_s = self.capacity.ms_per_s
        demand = self._in_flight_ms(now)
        spare = math.inf
        first = self._waiting.by_deadline.first()
        for job in itertools.takewhile(lambda job: first and job.priority == first.priority, self._waiting):
            demand += job.waiting_ms
            spare = min(spare, (job.planned_end - now) * ms_per_s - demand)
        return self.capacity.usable_ms(spare) < self.limits.workers * self.capacity.largest_batch_ms()

    def _planned_end(self, deadline: float, now: float) -> float:
        return self.capacity.planned_end(deadline, now, others_wait=self._waiting.pairs > 0)

    def _in_flight_ms(self, now: float) -> float:
        elapsed_ms_per_s = 1e3 / self.cost.correction
        return sum(max(batch.cost_ms - (now - batch.started) * elapsed_ms_per_s, 0.0) for batch in self._in_flight)

    def _min_s(self, job: Job) -> float:
        """Return the shortest time in which anything of a job can be done."""
        if not job.allow_partial:
            return self.capacity.seconds(job.waiting_ms)
        shortest = job.runs[min(job.runs)][1] - 1
        row_ms = job.cumulative_cost_ms[shortest + 1] - job.cumulative_cost_ms[shortest]
        return self.capacity.worker_seconds(self.cost.batch_ms + row_ms)
