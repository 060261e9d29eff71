"""What waits and what runs: a caller's pairs as a job, and batches of rows of jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

import numpy as np

from common.arrays import Int64Array
from services.ranking.pairs.pair_scores import PairScores
from services.ranking.pairs.pair_tokens import TokenPairs

# Upper ends of the length buckets, in tokens; the last bucket is open. Among many pairs that wait enough are of one
# length: one by one up to 64 tokens next to nothing is padding, where steps of an eighth made it 3 %. Where few wait,
# the queue has batches absorb shorter buckets.
_EDGES = np.array([*range(6, 64), *range(64, 136, 4), *range(144, 272, 16), *range(288, 513, 32)])


BUCKETS = len(_EDGES) + 1


class Priority(IntEnum):
    """Who waits for the answer; the lower is always served first."""

    INTERACTIVE = 0
    BATCH = 1


@dataclass(eq=False)
class Job:
    """One caller's pairs.

    Attributes:
        pairs: The pairs, longest first, so that what is read together lies together.
        order: Where each of them stands among the caller's; shape [pairs].
        spent_tokens: How many tokens the first, the first two, … of them have together; shape [pairs + 1].
        spent_ms: What these cost together; shape [pairs + 1].
        runs: For each length bucket the part of the pairs that still waits, as start and stop.
        scores: What is known so far, of the pairs in their order here.
        settle: Called once, under the batcher's lock, with the error or None when every row is done.
        until: When the answer is worth nothing; ``deadline``, by which the work is planned to be done, comes before.
        anytime: Whether the caller takes what is read until then, rather than all or nothing.
        turn: When the job's turn comes among the callers, set when it is admitted.
    """

    pairs: TokenPairs
    deadline: float
    priority: Priority
    owner: str
    submitted: float
    order: Int64Array
    spent_tokens: Sequence[int]
    spent_ms: Sequence[float]
    runs: dict[int, tuple[int, int]]
    scores: PairScores
    settle: Callable[[Exception | None], None]
    until: float
    anytime: bool = False
    turn: float = 0.0
    serial: int = 0
    waiting: int = field(init=False)
    waiting_ms: float = field(init=False)
    unfinished: int = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = self.unfinished = len(self.pairs)
        self.waiting_ms = self.spent_ms[-1]

    def tokens(self, place: int) -> int:
        """Return how many tokens a pair has."""
        return self.spent_tokens[place + 1] - self.spent_tokens[place]

    def answer(self) -> PairScores:
        """Return the scores as they are now, in the caller's order."""
        logits = np.empty_like(self.scores.logits)
        logits[self.order] = self.scores.logits
        return replace(self.scores, logits=logits)


@dataclass(frozen=True)
class JobSlice:
    """The pairs of a job from ``start`` to ``stop``."""

    job: Job
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(eq=False)
class Batch:
    """Rows of one or more jobs that run together.

    Attributes:
        parts: Whose rows, in the order of the batch.
        rows: How many.
        tokens: How many the longest of them has.
        read_tokens: How many all of them have, without padding.
        cost_ms: What they were expected to cost, uncorrected.
        started: When the batch was formed.
    """

    started: float
    parts: list[JobSlice] = field(default_factory=list)
    rows: int = 0
    tokens: int = 0
    read_tokens: int = 0
    cost_ms: float = 0.0

    @property
    def padded_tokens(self) -> int:
        """The batch's size, padding included."""
        return self.rows * self.tokens


def contiguous_runs(lengths: Int64Array) -> dict[int, tuple[int, int]]:
    """Cut lengths, longest first, into runs of one bucket each."""
    buckets = np.searchsorted(_EDGES, lengths)
    starts = np.flatnonzero(np.diff(buckets, prepend=-1))
    stops = np.append(starts[1:], len(lengths))
    return {int(buckets[start]): (int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)}


# Half of the most promising pairs are worth waiting for, by default.
LEAST_SHARE: Final = 0.5


@dataclass(frozen=True)
class CallContext:
    """On what terms a caller's pairs are read.

    Attributes:
        deadline: When the scores must be there, in seconds of the monotonic clock.
        priority: Who waits.
        owner: The caller, among whom turns are taken.
        least: The fewest pairs whose reading makes an answer worth having.
    """

    deadline: float
    priority: Priority = Priority.INTERACTIVE
    owner: str = ""
    least: int = 0

    def at_least_as_soon_as(self, other: CallContext) -> bool:
        """Tell whether work on these terms is done by the time that work on the others must be."""
        return self.priority <= other.priority and self.deadline <= other.deadline
