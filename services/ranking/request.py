"""A request in rows of the catalogue, and the call that it came with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Self

import numpy as np

from common.arrays import Float32Array, FloatArray, RowIndices
from common.release.event_weights import EventWeights, WeighedEvents
from common.tracing.spans import Span

# The most candidates of one call.
MAX_CANDIDATES: Final = 2_000


class Priority(IntEnum):
    """Who waits for the answer; the lower value is served first."""

    INTERACTIVE = 0
    BATCH = 1


@dataclass(frozen=True)
class CallContext:
    """By when and for whom the work of a call is done.

    Attributes:
        deadline: When the work must be done, in seconds of the monotonic clock.
        priority: Who waits.
        caller: Who called; the callers share the workers fairly.
        min_pairs: The fewest pairs whose reading makes an answer worth having.
        span: The span that batches with its pairs are linked with; None if it is not traced.
    """

    deadline: float
    priority: Priority = Priority.INTERACTIVE
    caller: str = ""
    min_pairs: int = 0
    span: Span | None = None

    def at_least_as_urgent_as(self, other: CallContext) -> bool:
        """Return whether work of this call is done by the time that work of the other must be."""
        return self.priority <= other.priority and self.deadline <= other.deadline


@dataclass(frozen=True)
class UserRows:
    """What is known of a user.

    Attributes:
        history: Catalogue rows of what the user bought or looked at, oldest first, with repeats; shape [events].
        query: What the user searched for; empty for nothing.
        events: The weights of the history's events, and which are of the target; None if all are, with weight 1.
        ages_s: Seconds from each event to the request, NaN if unknown; None if all are unknown; shape [events].
    """

    history: RowIndices
    query: str = ""
    events: WeighedEvents | None = None
    ages_s: Float32Array | None = None

    @classmethod
    def from_history(
        cls,
        rows: RowIndices,
        query: str,
        weights: EventWeights,
        kinds: Sequence[int] = (),
        ages_s: Sequence[float] = (),
    ) -> Self:
        """Return a user without the events of unknown items and of kinds that do not count.

        Args:
            rows: Catalogue rows, -1 for unknown items; shape [events].
            query: What the user searched for; empty for nothing.
            weights: How much the release counts each kind of event.
            kinds: Each event's kind, as `EventWeights.weigh` reads it.
            ages_s: Seconds from each event to the request, NaN if unknown; empty if all are unknown.
        """
        events = weights.weigh(kinds, len(rows))
        kept = (rows >= 0) & (events.weights > 0)
        return cls(
            rows[kept],
            query,
            WeighedEvents(events.weights[kept], events.targets[kept]),
            np.asarray(ages_s, np.float32)[kept] if len(ages_s) else None,
        )


@dataclass(frozen=True)
class CandidateRows:
    """The candidates of a request.

    Attributes:
        rows: Catalogue rows, -1 for a candidate given by its text alone; shape [candidates].
        first_stage_score: The first stage's fused score, NaN if missing; shape [candidates].
        sources: Each candidate source's score, NaN if it did not find the candidate; each of shape [candidates].
    """

    rows: RowIndices
    first_stage_score: FloatArray
    sources: Mapping[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def from_rows(cls, rows: RowIndices) -> CandidateRows:
        """Return candidates without scores of the first stage."""
        return cls(rows, np.full(len(rows), np.nan, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.rows)
