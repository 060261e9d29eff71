"""How much work the workers can do by a point in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from common.latency import LatenessReserve
from services.ranking.batching.cost_model import CostModel

# At most this share of a job's time is kept back for work that takes longer than planned.
_MAX_RESERVE_SHARE: Final = 0.25


@dataclass(frozen=True)
class BatchLimits:
    """The bounds of queue and batches, and how they run.

    Attributes:
        padded_tokens: The most tokens of a batch, padding included; a single longer row runs alone.
        max_queued_pairs: The most pairs that wait.
        workers: How many batches run at a time.
        spare_batches: How many batches' time is kept back before a deadline if other jobs wait. At four times
            saturation two gave 1.02 times the goodput of none, and four 1.04 times.
        nice: By how much the workers' thread priority is below that of other threads; Linux only.
    """

    padded_tokens: int = 384
    max_queued_pairs: int = 20_000
    workers: int = 1
    spare_batches: int = 4
    nice: int = 15


class Capacity:
    """Converts between the workers' time and work.

    Work is in milliseconds of one worker as the cost model's fit counts them, before its correction; seconds are real.

    Attributes:
        longest: The longest pair so far, in tokens.
        overrun: By how much work ended later than planned.
    """

    def __init__(self, cost: CostModel, limits: BatchLimits) -> None:
        self.longest = 1
        self.overrun = LatenessReserve()
        self._cost = cost
        self._limits = limits

    @property
    def ms_per_s(self) -> float:
        """How much work all workers do in a second."""
        return 1e3 * self._limits.workers / self._cost.correction

    def seconds(self, work_ms: float) -> float:
        """Return how long all workers take for work."""
        return work_ms * self._cost.correction / self._limits.workers / 1e3

    def worker_seconds(self, work_ms: float) -> float:
        """Return how long one worker takes for work."""
        return work_ms * self._cost.correction / 1e3

    def planned_end(self, deadline: float, now: float, *, others_wait: bool) -> float:
        """Return when work must be planned to end for it to end by ``deadline``, if it overruns as recent work did.

        If other jobs wait, the time of some batches is kept back as well. The next job is then not so near its deadline
        that its batches must be small, and its last batches do not end too late.
        """
        reserve_s = self.overrun.seconds
        if others_wait:
            batch_s = self.worker_seconds(self.largest_batch_ms())
            reserve_s = max(reserve_s, self._limits.spare_batches * batch_s)
        return deadline - max(min(reserve_s, _MAX_RESERVE_SHARE * (deadline - now)), 0.0)

    def usable_ms(self, spare_ms: float) -> float:
        """Return how much of the workers' time is surely usable: at the end one may work while the others idle.

        Any schedule that leaves no worker idle ends within work / workers + (1 - 1 / workers) * the longest batch
        (Graham, 1969); work smaller than a batch may run on one worker alone.
        """
        workers = self._limits.workers
        return max(spare_ms / workers, spare_ms - (workers - 1) * self.largest_batch_ms())

    def largest_batch_ms(self) -> float:
        """Return what a full batch of the longest pairs costs."""
        rows = max(self._limits.padded_tokens / self.longest, 1.0)
        return self._cost.batch_ms + rows * self._cost.rows_ms(self.longest)
