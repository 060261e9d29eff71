"""What the sources are told of a person."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from services.retrieval.vector_index import Floats, Rows

Situation = Literal["query", "history", "both", "none"]


@dataclass(frozen=True, eq=False)
class Person:
    """A person as the sources see one.

    Attributes:
        query: The unit vector of what the person searches for, None without a query; shape [dimension].
        history: Rows of the items that the person bought or looked at, oldest first, repeats kept; shape [n].
        decay: What one step back in the history weighs less, above 0 to 1.
    """

    query: Floats | None
    history: Rows
    decay: float

    @property
    def situation(self) -> Situation:
        """What is known of the person."""
        if self.query is None:
            return "history" if len(self.history) else "none"
        return "both" if len(self.history) else "query"

    @cached_property
    def weights(self) -> Floats:
        """What each step of the history weighs: the last one 1, those before less and less; shape [n]."""
        steps_back = np.arange(len(self.history) - 1, -1, -1)
        return np.power(self.decay, steps_back).astype(np.float32)

    @cached_property
    def interests(self) -> tuple[Rows, Floats]:
        """The distinct rows of the history, and the sum of what each one's steps weigh."""
        rows, places = np.unique(self.history, return_inverse=True)
        return rows, np.bincount(places, weights=self.weights, minlength=len(rows)).astype(np.float32)

    def recent(self, count: int) -> tuple[Rows, Floats]:
        """Return the last ``count`` distinct rows, the most recent first, and what each one's last step weighs."""
        _, first = np.unique(self.history[::-1], return_index=True)
        places = len(self.history) - 1 - np.sort(first)[:count]
        return self.history[places], self.weights[places]
