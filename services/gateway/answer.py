"""What is asked of the gateway and what it answers, as values; how an answer tells what went wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from common.filters import Filter
from services.gateway.deadline import Deadline
from services.gateway.items import Candidate, Item
from services.gateway.policy import Policy
from services.gateway.tail_swaps import Swap


class Stages(StrEnum):
    """Which stages choose."""

    BOTH = "both"
    FIRST = "first"
    POPULAR = "popular"


class DegradationKind(StrEnum):
    """What can go wrong while an answer is still given; named as in the contract."""

    RANKING_UNAVAILABLE = "RANKING_UNAVAILABLE"
    RANKING_TOO_SLOW = "RANKING_TOO_SLOW"
    RANKING_OVERLOADED = "RANKING_OVERLOADED"
    RETRIEVAL_UNAVAILABLE = "RETRIEVAL_UNAVAILABLE"
    PROFILE_UNAVAILABLE = "PROFILE_UNAVAILABLE"
    POLICY_NOT_APPLIED = "POLICY_NOT_APPLIED"


@dataclass(frozen=True)
class Degradation:
    """One thing that went wrong, and a sentence for operators that says what was done instead."""

    kind: DegradationKind
    detail: str


@dataclass(frozen=True)
class Ask:
    """A valid request; ``history`` is oldest first and comes after the recorded events of ``user_id``."""

    user_id: str = ""
    query: str = ""
    history: Sequence[str] = ()
    filter: Filter | None = None
    policy: Policy = field(default_factory=Policy)
    exclude_history: bool = False
    stages: Stages = Stages.BOTH


@dataclass(frozen=True)
class Person:
    """What the stages are told of a person: the query, and the history oldest first."""

    query: str
    history: Sequence[str]


@dataclass(frozen=True)
class Answer:
    """The items chosen and how they came about.

    Attributes:
        items: Best first, at most the policy's limit.
        candidates: What the first stage found, which the items were chosen from.
        person: What the stages were told.
        release_id: The release that answered; empty where no stage did.
        degradations: What went wrong, in the order it did.
        timings_ms: How long each stage took, by name, and ``total``; stages that were left out are missing.
        ignored_history_items: How many history items the release does not know.
        below_threshold: How many candidates the threshold left out.
        swaps: Which items came in for the tail's share, and which gave way.
    """

    items: Sequence[Item]
    candidates: Sequence[Candidate]
    person: Person
    release_id: str
    degradations: Sequence[Degradation]
    timings_ms: dict[str, float]
    ignored_history_items: int
    below_threshold: int
    swaps: Sequence[Swap] = ()

    @property
    def tail_items(self) -> int:
        """How many of the items are of the long tail."""
        return sum(item.candidate.tail for item in self.items)


class Course:
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
