"""The order of work: which pairs wait, which come next, and which are refused because they would come too late.

A `Job` is one caller's pairs, sorted by length and cut into runs of alike length (buckets). Nothing here is done for
each pair in Python: a job costs a few numpy calls, a batch a walk over the jobs that wait, of which there are a few
hundred at most. Times are seconds of one monotonic clock, given by the caller, so that all of this is deterministic;
costs are milliseconds of one worker as the cost model's fit counts them, before its correction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from common.arrays import Float64Array, Int64Array
from common.errors import DeadlineTooShort, Overloaded
from services.ranking.batching.capacity import BatchLimits, Capacity
from services.ranking.batching.cost_model import CostModel
from services.ranking.batching.job import Batch, Job, JobSlice, Priority, contiguous_runs
from services.ranking.batching.job_order import FairShareClock, JobOrder
from services.ranking.pairs.pair_scores import PairScores
from services.ranking.pairs.pair_tokens import TokenPairs

# A batch is filled with other callers' pairs until its overhead is below this share of it: beyond, they would only
# make the first caller wait.
_OVERHEAD_SHARE = 0.03


# A short queue is shared between the workers as long as a batch still takes so many times its overhead.
_LEAST_OVERHEADS = 2.0


# How much the last job says of what a pair costs.
_TYPICAL_WEIGHT = 0.05


class BatchQueue:
    """Jobs that wait, in two orders.

    While every job can be finished in time in any order, callers take turns: a job's turn comes when it would be done
    if its caller had the workers alone (the finish tag of fair queueing), so that small jobs pass large ones and a
    caller's flood waits behind other callers. Where time is short, the earliest deadline comes first, which meets
    every deadline if any order does (Liu and Layland, 1973). Not safe to share between threads without a lock.
    """

    def __init__(self, cost: CostModel, limits: BatchLimits) -> None:
        self.cost = cost
        self.limits = limits
        self.pairs = 0
        self.waiting_ms = 0.0  # what they cost
        self.typical_ms = 0.0  # what a pair costs, by the jobs of late
        self.capacity = Capacity(cost, limits)
        self._deadlines = JobOrder(lambda job: (job.priority, job.deadline, job.serial))
        self._turns = JobOrder(lambda job: (job.priority, job.turn, job.serial))
        self._in_flight: set[Batch] = set()
        self._owners = FairShareClock()
        self._serials = itertools.count()

    def __iter__(self) -> Iterator[Job]:
        """The jobs that wait, by priority and deadline."""
        return iter(self._deadlines)

    def job(
        self,
        pairs: TokenPairs,
        deadline: float,
        priority: Priority,
        owner: str,
        *,
        now: float,
        settle: Callable[[Exception | None], None],
        anytime: bool = False,
    ) -> Job:
        """Make a job of pairs, not yet admitted; of what is shared it only looks whether others wait."""
        pairs = pairs.take(order := np.argsort(-pairs.lengths, kind="stable"))
        lengths = pairs.lengths
        spent = pairs.rows.offsets.tolist(), [0.0, *np.cumsum(self.pair_ms(lengths)).tolist()]
        planned, scores = self._planned(deadline, now), PairScores.unread(len(pairs))
        asked = (pairs, planned, priority, owner, now)
        return Job(*asked, order, *spent, contiguous_runs(lengths), scores, settle, deadline, anytime)

    def pair_ms(self, lengths: Int64Array) -> Float64Array:
        """Return what pairs of so many tokens cost, with their share of a full batch's overhead."""
        share = np.minimum(lengths / self.limits.padded_tokens, 1.0)
        return self.cost.rows_ms(lengths.astype(np.float64)) + self.cost.batch_ms * share

    def admit(self, job: Job, now: float) -> None:
        """Queue a job; one that takes what is read until its deadline is taken on trust (see `affordable`).

        Raises:
            Overloaded: Too many pairs wait already.
            DeadlineTooShort: It could not be done in time, or would make another job late.
        """
        if self.pairs + len(job.pairs) > self.limits.max_queued_pairs:
            message = f"{self.pairs} of {self.limits.max_queued_pairs} pairs wait already; try again later"
            raise Overloaded(message, retry_after_s=max(self.drain_s(), 0.01))
        if not job.anytime and job.waiting_ms > self.spare_ms(job.deadline, job.priority, now):
            raise DeadlineTooShort(
                f"{len(job.pairs)} pairs cannot be read within {max(job.deadline - now, 0.0):.3f} s beside the "
                f"{self.pairs} that wait; allow more time or rank fewer candidates"
            )
        job.serial = next(self._serials)
        job.turn = self._owners.turn(job.owner, self.capacity.seconds(job.waiting_ms), now)
        self.capacity.longest = max(self.capacity.longest, job.tokens(0))
        weight = _TYPICAL_WEIGHT if self.typical_ms else 1.0
        self.typical_ms += weight * (job.waiting_ms / job.waiting - self.typical_ms)
        self._deadlines.join(job)
        self._turns.join(job)
        self.pairs += job.waiting
        self.waiting_ms += job.waiting_ms

    def affordable(
        self, spent_ms: Float64Array, deadline: float, priority: Priority, now: float, min_read_share: float
    ) -> int:
        """Return how many pairs there is time for.

        Args:
            spent_ms: What the first, the first two, … pairs cost together, see `pair_ms`.
            deadline: When they must have been read.
            priority: Who waits for them.
            now: The time.
            min_read_share: Where other work leaves time for less than this share of what could be read without it, the
                answer is 0: a few pairs are not worth waiting for.
        """
        planned = self._planned(deadline, now)
        times_ms = [self.spare_ms(planned, priority, now), self.capacity.less_tail(self.capacity.ms(planned, now))]
        # Rounding must not make an affordable pair unaffordable.
        count, alone = np.searchsorted(spent_ms * (1 - 1e-9), times_ms, side="right").tolist()
        return count if count >= min_read_share * alone else 0

    def wait_s(self, pairs: float, deadline: float, priority: Priority, now: float) -> float:
        """Return how long to wait until there is time for so many more pairs of the typical cost; 0 where there is."""
        spare_ms = self.spare_ms(self._planned(deadline, now), priority, now)
        return max(self.capacity.seconds(pairs * self.typical_ms - spare_ms), 0.0)

    def spare_ms(self, deadline: float, priority: Priority, now: float) -> float:
        """Return how much work due at ``deadline`` can be taken on without a job of its priority or above being late.

        Work done by each deadline must fit the workers' time until then (the processor demand test of earliest
        deadline first); lower priorities are not asked.
        """
        spare = math.inf
        ahead = demand = self._in_flight_ms(now)
        for job in self._deadlines:
            if job.priority > priority:
                break
            demand += job.waiting_ms
            if (job.priority, job.deadline) <= (priority, deadline):
                ahead = demand
            else:
                spare = min(spare, self.capacity.ms(job.deadline, now) - demand)
        return self.capacity.less_tail(min(spare, self.capacity.ms(deadline, now) - ahead))

    def drain_s(self) -> float:
        """Return how long the waiting work takes."""
        return self.capacity.seconds(self.waiting_ms)

    def expire(self, now: float) -> list[Job]:
        """Take out and return the jobs that can no longer be done in time, before they cost more.

        A job that takes what is read until then goes on until not even one row can be read.
        """
        if self._at_leisure(now):
            return []
        late = [job for job in self._deadlines if now + self._least_s(job) > job.until]
        for job in late:
            self.discard(job)
        return late

    def discard(self, job: Job) -> None:
        """Take a job out, if it waits: its caller is gone, or it failed."""
        if not job.waiting:
            return
        job.unfinished -= job.waiting
        self._deadlines.leave(job)
        self._turns.leave(job)
        self._forget(job.waiting, job.waiting_ms)
        job.waiting, job.waiting_ms = 0, 0.0
        job.runs.clear()

    def take(self, now: float) -> Batch | None:
        """Form the next batch; None where nothing waits."""
        line = self._deadlines if self._short_of_time(now) else self._turns
        lead = line.first()
        if lead is None:
            return None
        batch = Batch(now)
        # So much that the others, with what they have under way and the rest, end when this one does.
        share_ms = (self.waiting_ms + self._in_flight_ms(now)) / self.limits.workers
        left_ms = max((lead.until - now) * 1e3 / self.cost.correction, 0.0)
        self._fill(batch, line, lead, min(max(share_ms, _LEAST_OVERHEADS * self.cost.batch_ms), left_ms))
        self._in_flight.add(batch)
        return batch

    def finished(self, batch: Batch, now: float) -> None:
        """Take note that a batch has run; once is enough."""
        if batch not in self._in_flight:
            return
        self._in_flight.remove(batch)
        self.cost.observe(batch.cost_ms, (now - batch.started) * 1e3)

    def _fill(self, batch: Batch, line: JobOrder, lead: Job, share_ms: float) -> None:
        """Take the lead's longest run, then what shares a batch with it for little."""
        bucket = max(lead.runs)
        self._take_run(batch, lead, bucket, self._room(batch, lead, bucket, share_ms))
        full_ms = min(share_ms, self.cost.batch_ms / _OVERHEAD_SHARE)
        while (job := line.first(bucket)) is not None and job.priority == lead.priority:
            count = self._room(batch, job, bucket, full_ms)
            if count <= 0:
                return
            self._take_run(batch, job, bucket, count)
        for shorter in range(bucket - 1, -1, -1):
            self._absorb(batch, line, lead, shorter, share_ms)

    def _absorb(self, batch: Batch, line: JobOrder, lead: Job, bucket: int, share_ms: float) -> None:
        """Take whole runs of a shorter bucket while one of their tokens, padded, costs no more than the batch's do.

        The batch's overhead counts as its own, so that it grows as long as that makes its tokens cheaper.
        """
        while (job := line.first(bucket)) is not None and job.priority == lead.priority:
            start, stop = job.runs[bucket]
            row_ms = self.cost.rows_ms(batch.tokens)
            token_ms = (self.cost.batch_ms + batch.rows * row_ms) / batch.read_tokens
            padded_ms = (stop - start) * row_ms / (job.spent_tokens[stop] - job.spent_tokens[start])
            if padded_ms > token_ms or self._room(batch, job, bucket, share_ms) < stop - start:
                return
            self._take_run(batch, job, bucket, stop - start)

    def _room(self, batch: Batch, job: Job, bucket: int, bound_ms: float) -> int:
        """Return how many rows of a run the batch still takes: within its token budget and ``bound_ms``."""
        tokens = max(batch.tokens, job.tokens(job.runs[bucket][0]))
        rows = self.limits.padded_tokens // max(tokens, 1)
        row_ms = self.cost.rows_ms(tokens)
        if row_ms > 0:
            rows = min(rows, int(bound_ms / row_ms))
        return rows - batch.rows if batch.rows else max(rows, 1)

    def _take_run(self, batch: Batch, job: Job, bucket: int, count: int) -> None:
        """Move the first ``count`` rows of a job's run into the batch."""
        start, stop = job.runs[bucket]
        taken = min(start + count, stop)
        cost_ms = job.spent_ms[taken] - job.spent_ms[start]
        batch.parts.append(JobSlice(job, start, taken))
        batch.rows += taken - start
        batch.tokens = max(batch.tokens, job.tokens(start))
        batch.read_tokens += job.spent_tokens[taken] - job.spent_tokens[start]
        batch.cost_ms += cost_ms
        self._shrink(job, bucket, (taken, stop), cost_ms)

    def _shrink(self, job: Job, bucket: int, left: tuple[int, int], cost_ms: float) -> None:
        start, stop = left
        taken = start - job.runs[bucket][0]
        self._forget(taken, cost_ms)
        if taken == job.waiting:
            self._deadlines.leave(job)
            self._turns.leave(job)
        elif start == stop:
            self._deadlines.leave_bucket(job, bucket)
            self._turns.leave_bucket(job, bucket)
        job.waiting -= taken
        job.waiting_ms -= cost_ms
        if start == stop:
            del job.runs[bucket]
        else:
            job.runs[bucket] = left

    def _forget(self, pairs: int, cost_ms: float) -> None:
        self.pairs -= pairs
        self.waiting_ms = max(self.waiting_ms - cost_ms, 0.0) if self.pairs else 0.0  # what rounding left

    def _at_leisure(self, now: float) -> bool:
        """Tell whether all that waits could be done by the first deadline of all, and a batch of each worker before.

        A walk over the jobs tells more, but it takes as long as assembling a batch where there are many callers.
        """
        first = min((job.deadline for job in self._deadlines), default=math.inf)
        spare_ms = self.capacity.ms(first, now) - self._in_flight_ms(now) - self.waiting_ms
        return self.capacity.less_tail(spare_ms) >= self.limits.workers * self.capacity.largest_batch_ms()

    def _short_of_time(self, now: float) -> bool:
        """Tell whether one batch out of order could make a job of the first priority late."""
        if self._at_leisure(now):
            return False
        demand = self._in_flight_ms(now)
        spare = math.inf
        first = self._deadlines.first()
        for job in itertools.takewhile(lambda job: first and job.priority == first.priority, self._deadlines):
            demand += job.waiting_ms
            spare = min(spare, self.capacity.ms(job.deadline, now) - demand)
        return self.capacity.less_tail(spare) < self.limits.workers * self.capacity.largest_batch_ms()

    def _planned(self, deadline: float, now: float) -> float:
        return self.capacity.planned(deadline, now, beside_others=self.pairs > 0)

    def _in_flight_ms(self, now: float) -> float:
        elapsed_ms = 1e3 / self.cost.correction
        return sum(max(batch.cost_ms - (now - batch.started) * elapsed_ms, 0.0) for batch in self._in_flight)

    def _least_s(self, job: Job) -> float:
        """Return how long the least takes that makes a job worth going on with."""
        if not job.anytime:
            return self.capacity.seconds(job.waiting_ms)
        row = job.runs[min(job.runs)][1] - 1
        row_ms = self.cost.batch_ms + job.spent_ms[row + 1] - job.spent_ms[row]
        return row_ms * self.cost.correction / 1e3
