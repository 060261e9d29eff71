"""A call's pairs as a job, and the batches that its rows run in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from common.arrays import Int64Array
from common.tracing.spans import Span
from services.ranking.pairs.pair_scores import PairScores
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import Priority

# Upper bounds of the length buckets, in tokens; the last bucket is open. A long queue has enough pairs of each length:
# buckets of one token up to 64 tokens leave almost no padding, where steps of an eighth left 3 %. In a short queue,
# batches absorb pairs of shorter buckets.
_BUCKET_BOUNDS = np.array([*range(6, 64), *range(64, 136, 4), *range(144, 272, 16), *range(288, 513, 32)])
BUCKETS = len(_BUCKET_BOUNDS) + 1
# Jobs are sorted by such a key: priority, a time, and a serial number that makes it unique.
OrderKey = tuple[int, float, int]


@dataclass(eq=False)
class Job:
    """The pairs of one call.

    Attributes:
        pairs: The pairs, longest first, so that pairs read together are next to each other.
        deadline: When the scores become worthless, in seconds of the batcher's clock.
        planned_end: When the work is planned to be done, which is no later than the deadline.
        priority: Who waits.
        caller: Who called.
        submitted: When the job was made.
        order: Each pair's index among the caller's pairs; shape [pairs].
        cumulative_tokens: How many tokens the first 0, 1, 2, … pairs have together; shape [pairs + 1].
        cumulative_cost_ms: What they cost together; shape [pairs + 1].
        runs: The pairs of each length bucket that still wait, as start and stop.
        scores: The scores so far, in the order of ``pairs``.
        complete: Called once, under the batcher's lock, with the error, or with None when every row is done.
        allow_partial: Whether the caller takes what is read by the deadline, rather than all or nothing.
        span: The span of the call that batches are linked with; None if it is not traced.
        deadline_key: Sorts jobs by priority and planned end; set on admission.
        fair_share_key: Sorts jobs by priority and virtual finish time; set on admission.
        waiting: How many pairs wait.
        waiting_ms: What they cost.
        unfinished: How many pairs wait or are being read.
    """

    pairs: TokenPairs
    deadline: float
    planned_end: float
    priority: Priority
    caller: str
    submitted: float
    order: Int64Array
    cumulative_tokens: Sequence[int]
    cumulative_cost_ms: Sequence[float]
    runs: dict[int, tuple[int, int]]
    scores: PairScores
    complete: Callable[[Exception | None], None]
    allow_partial: bool = False
    span: Span | None = None
    deadline_key: OrderKey = (0, 0.0, 0)
    fair_share_key: OrderKey = (0, 0.0, 0)
    waiting: int = field(init=False)
    waiting_ms: float = field(init=False)
    unfinished: int = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = self.unfinished = len(self.pairs)
        self.waiting_ms = self.cumulative_cost_ms[-1]

    def length(self, row: int) -> int:
        """Return how many tokens a pair has."""
        return self.cumulative_tokens[row + 1] - self.cumulative_tokens[row]

    def current_scores(self) -> PairScores:
        """Return the scores so far, in the caller's order."""
        logits = np.empty_like(self.scores.logits)
        logits[self.order] = self.scores.logits
        return replace(self.scores, logits=logits)


@dataclass(frozen=True)
class JobSlice:
    """The pairs of a job from ``start`` to ``stop``, which are of one length bucket."""

    job: Job
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def tokens(self) -> int:
        """How many tokens the pairs have, without padding."""
        return self.job.cumulative_tokens[self.stop] - self.job.cumulative_tokens[self.start]

    @property
    def cost_ms(self) -> float:
        """What reading the pairs costs, uncorrected."""
        return self.job.cumulative_cost_ms[self.stop] - self.job.cumulative_cost_ms[self.start]


@dataclass(eq=False)
class Batch:
    """Rows of one or more jobs that run together.

    Attributes:
        started: When the batch was formed.
        slices: The jobs' rows, in the order of the batch.
        rows: How many rows it has.
        longest: How many tokens its longest row has.
        read_tokens: How many tokens all rows have, without padding.
        cost_ms: What they were expected to cost, uncorrected.
    """

    started: float
    slices: list[JobSlice] = field(default_factory=list)
    rows: int = 0
    longest: int = 0
    read_tokens: int = 0
    cost_ms: float = 0.0

    @property
    def padded_tokens(self) -> int:
        """How many tokens the batch has, padding included."""
        return self.rows * self.longest

    def add(self, rows: JobSlice, cost_ms: float) -> None:
        """Append rows of the given cost."""
        self.slices.append(rows)
        self.rows += len(rows)
        self.longest = max(self.longest, rows.job.length(rows.start))
        self.read_tokens += rows.tokens
        self.cost_ms += cost_ms


def contiguous_runs(lengths: Int64Array) -> dict[int, tuple[int, int]]:
    """Cut lengths, longest first, into runs of one bucket each, as start and stop by bucket."""
    buckets = np.searchsorted(_BUCKET_BOUNDS, lengths)
    starts = np.flatnonzero(np.diff(buckets, prepend=-1))
    stops = np.append(starts[1:], len(lengths))
    return {int(buckets[start]): (int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)}
