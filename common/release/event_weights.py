"""Kinds of event, and how much an event of each kind counts in a release."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from functools import cached_property
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from common.arrays import Float32Array
from common.errors import InvalidRequest


class EventKind(IntEnum):
    """What a user did; the numbers are those of the contract."""

    VIEW = 1
    CART = 2
    PURCHASE = 3
    SEARCH = 4
    RATING = 5
    FAVOURITE = 6
    REFUND = 7

    @property
    def word(self) -> str:
        """The kind as datasets and settings name it."""
        return self.name.lower()

    @classmethod
    def from_word(cls, word: str) -> Self:
        """Return the kind of a word; raises KeyError if there is none."""
        return cls[word.upper()]


# The kinds that a history consists of, from the weakest sign of a choice to the strongest.
HISTORY_KINDS: Final = (
    EventKind.VIEW,
    EventKind.FAVOURITE,
    EventKind.CART,
    EventKind.RATING,
    EventKind.PURCHASE,
)
_OF_HISTORIES: Final = {0, *HISTORY_KINDS}
_NUMBERS: Final = max(EventKind) + 1


class WeighedEvents(NamedTuple):
    """Events of a history by their kinds.

    Attributes:
        weights: What each event counts, 1 for one of the target; float32[events].
        targets: Whether each event is of the target; bool[events].
    """

    weights: Float32Array
    targets: npt.NDArray[np.bool_]

    def until(self, count: int) -> WeighedEvents:
        """Return the first ``count`` events."""
        return WeighedEvents(self.weights[:count], self.targets[:count])


class EventWeights(BaseModel):
    """How much an event of each kind counts.

    Without weights, as in releases that know no kinds, every event counts 1 and is of the target.

    Attributes:
        weights: By kind, 1 for the target. A kind without a weight counts as a purchase.
        targets: The kinds that are predicted: purchases, or the strongest kind that the data has and those above it.
            Empty for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[str, float] = {}
    targets: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _valid(self) -> Self:
        for kind, weight in self.weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"weights.{kind}: {weight} is negative or not finite")
        if self.weights.get(EventKind.PURCHASE.word, 1.0) != 1.0:
            raise ValueError("weights.purchase: must be 1, since an event of unknown kind counts as a purchase")
        return self

    def weigh(self, kinds: Sequence[int], count: int) -> WeighedEvents:
        """Look up the events of a history.

        Args:
            kinds: Each event's kind by its number, 0 for unknown, which counts as a purchase; empty for all unknown.
            count: Number of events.
        """
        codes = np.fromiter(kinds, np.int64, len(kinds)) if len(kinds) else np.zeros(count, np.int64)
        weights, targets = self._by_number
        return WeighedEvents(weights[codes], targets[codes])

    @cached_property
    def _by_number(self) -> WeighedEvents:
        """Weight and target by the number of a kind; 0, which is no kind, is a purchase."""
        weights, targets = np.ones(_NUMBERS, np.float32), np.ones(_NUMBERS, np.bool_)
        for kind in EventKind:
            weights[kind] = self.weights.get(kind.word, 1.0)
            targets[kind] = not self.targets or kind.word in self.targets
        targets[EventKind.PURCHASE] = True
        return WeighedEvents(weights, targets)


EQUAL_WEIGHTS: Final = EventWeights()


def check_kinds(name: str, kinds: Sequence[int], events: int) -> None:
    """Raise InvalidRequest, naming the field, if kinds are not one for each event, or are none of a history."""
    if not kinds:
        return
    if len(kinds) != events:
        raise InvalidRequest(f"{name}: {len(kinds):,} given for {events:,} items; give one for each, or none")
    wrong = set(kinds) - _OF_HISTORIES
    if wrong:
        first = next(number for number, kind in enumerate(kinds) if kind in wrong)
        raise InvalidRequest(
            f"{name}[{first}]: {kinds[first]} is no kind of event in a history; give a view, favourite, cart, rating "
            "or purchase"
        )
