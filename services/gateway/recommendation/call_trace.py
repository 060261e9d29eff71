"""What happened during a call: times of stages, and degradations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from services.gateway.recommendation.deadline import Deadline
from services.gateway.recommendation.result import Degradation, DegradationKind


class CallTrace:
    """The course of one call: its deadline, how long its stages took, and what went wrong.

    Attributes:
        degradations: What went wrong, in the order it did.
        timings_ms: How long each stage took, by name.
        starved: Whether the first stage had no time or room for it.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._began_s = time.monotonic()
        self.degradations: list[Degradation] = []
        self.timings_ms: dict[str, float] = {}
        self.starved = False

    @property
    def began_s(self) -> float:
        """When the call began, in seconds of the monotonic clock."""
        return self._began_s

    def late_s(self) -> float:
        """Return how much later than planned it is; below 0 while there is time."""
        return time.monotonic() - self._deadline.planned_s

    def over(self) -> bool:
        """Tell whether the call's deadline has passed."""
        return time.monotonic() > self._deadline.ends_at_s

    def part_s(self, share: float) -> float:
        """Return how long a stage that begins now may take."""
        return self._deadline.part_s(time.monotonic(), share)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, however it ends."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.timings_ms[name] = (time.monotonic() - began_s) * 1e3

    def degrade(self, kind: DegradationKind, detail: str) -> None:
        """Note what went wrong and what is done instead."""
        self.degradations.append(Degradation(kind, detail))

    def finish(self) -> None:
        """Take the total time."""
        self.timings_ms["total"] = (time.monotonic() - self._began_s) * 1e3
