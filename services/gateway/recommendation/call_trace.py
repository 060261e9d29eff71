"""The trace of one call: its deadline, stage times and degradations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from common.tracing.spans import child_span
from services.gateway.backends.stages import StageFailed, StageUnanswered
from services.gateway.recommendation.deadline import Deadline
from services.gateway.recommendation.result import Degradation, DegradationKind


class CallTrace:
    """The trace of one call.

    Attributes:
        started_s: When the call started, in seconds of the monotonic clock.
        degradations: The degradations, in the order in which they happened.
        timings_ms: How long each stage took, by name.
        no_time_for_retrieval: Whether retrieval was too slow or overloaded.
        waited_in_vain: Whether the call waited for a service that hangs, so that its time says nothing about the load.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self.started_s = time.monotonic()
        self.degradations: list[Degradation] = []
        self.timings_ms: dict[str, float] = {}
        self.no_time_for_retrieval = False
        self.waited_in_vain = False

    def lateness_s(self) -> float:
        """Return by how many seconds the call is behind its plan; negative while there is time."""
        return time.monotonic() - self._deadline.stages_end_s

    def is_overdue(self) -> bool:
        """Return whether the call's deadline has passed."""
        return time.monotonic() > self._deadline.ends_at_s

    def timeout_s(self, share: float) -> float:
        """Return the timeout of a stage that starts now; see `Deadline.timeout_s`."""
        return self._deadline.timeout_s(time.monotonic(), share)

    @contextmanager
    def time_stage(self, name: str) -> Iterator[None]:
        """Record how long the body takes as the stage ``name``, even if it raises."""
        started_s = time.monotonic()
        try:
            with child_span(name):
                yield
        finally:
            self.timings_ms[name] = (time.monotonic() - started_s) * 1e3

    def observe_failure(self, failure: StageFailed) -> None:
        """Note whether a failed stage was waited for in vain."""
        self.waited_in_vain |= isinstance(failure, StageUnanswered)

    def add_degradation(self, kind: DegradationKind, detail: str) -> None:
        """Record what failed and what was done instead."""
        self.degradations.append(Degradation(kind, detail))

    def finish(self) -> None:
        """Record the total time."""
        self.timings_ms["total"] = (time.monotonic() - self.started_s) * 1e3
