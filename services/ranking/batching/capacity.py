"""How much work the workers can do by when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from common.latency import LatenessReserve
from services.ranking.batching.cost_model import CostModel

# At most this share of a job's time is kept back for work that takes longer than planned.
_MOST_KEPT_BACK: Final = 0.25


@dataclass(frozen=True)
class BatchLimits:
    """The bounds of the queue.

    Attributes:
        padded_tokens: A batch's rows times its longest row stay within this; one row alone may exceed it.
        max_queued_pairs: So many pairs may wait.
        workers: So many batches run at a time.
        spare_batches: Where others wait, the time of so many batches is kept back before a deadline. At four times
            saturation two gave 1.02 times the goodput of none, and four 1.04 times.
    """

    padded_tokens: int = 384
    max_queued_pairs: int = 20_000
    workers: int = 1
    spare_batches: int = 4


class Capacity:
    """The workers' time, in milliseconds of one worker as the cost model's fit counts them; seconds are real ones.

    Attributes:
        longest: The longest pair so far, in tokens.
        overrun: By how much work ended later than planned.
    """

    def __init__(self, cost: CostModel, limits: BatchLimits) -> None:
        self.longest = 1
        self.overrun = LatenessReserve()
        self._cost = cost
        self._limits = limits

    def ms(self, deadline: float, now: float) -> float:
        """Return how much work can be done by a deadline."""
        return (deadline - now) * 1e3 * self._limits.workers / self._cost.correction

    def seconds(self, work_ms: float) -> float:
        """Return how long all workers take for work."""
        return work_ms * self._cost.correction / self._limits.workers / 1e3

    def planned(self, deadline: float, now: float, *, beside_others: bool) -> float:
        """Return when work must be planned to end for it to end by ``deadline``, if it ends as late as of late.

        Where others wait, some batches' time is kept back as well. The next one due is then not so near its deadline
        that its batches have to be small, and what is read of it does not come too late.
        """
        kept_back_s = self.overrun.seconds
        if beside_others:
            batch_s = self.largest_batch_ms() * self._cost.correction / 1e3
            kept_back_s = max(kept_back_s, self._limits.spare_batches * batch_s)
        return deadline - max(min(kept_back_s, _MOST_KEPT_BACK * (deadline - now)), 0.0)

    def less_tail(self, spare_ms: float) -> float:
        """Return what of the workers' time is surely usable: at the end one may work while the others idle.

        Any schedule that leaves no worker idle ends within work / workers + (1 - 1 / workers) * the longest batch
        (Graham, 1969); work smaller than a batch may run on one worker alone.
        """
        workers = self._limits.workers
        return max(spare_ms / workers, spare_ms - (workers - 1) * self.largest_batch_ms())

    def largest_batch_ms(self) -> float:
        """Return what a full batch of the longest pairs costs."""
        rows = max(self._limits.padded_tokens / self.longest, 1.0)
        return self._cost.batch_ms + rows * self._cost.rows_ms(self.longest)
