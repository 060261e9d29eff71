"""What the candidate sources know about a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal
from zlib import crc32

import numpy as np

from common.arrays import Float32Array, RowIndices

Situation = Literal["query", "history", "both", "none"]


@dataclass(frozen=True, eq=False)
class UserContext:
    """A user's query and history.

    Attributes:
        query_vector: The unit vector of the query, None without a query; shape [dimension].
        history: Rows of the items that the user bought or looked at, oldest first, with repeats; shape [n].
        decay: The factor by which the weight falls with each step back in the history, above 0 to 1.
        query_text: The query as text; empty without one.
        request_seed: The random seed that the caller gave; 0 if none.
        history_item_ids: The history as the caller gave it.
        event_weights: What each event of the history counts by its kind, above 0; None if each counts 1; shape [n].
    """

    query_vector: Float32Array | None
    history: RowIndices
    decay: float
    query_text: str = ""
    request_seed: int = 0
    history_item_ids: Sequence[str] = ()
    event_weights: Float32Array | None = None

    @cached_property
    def seed(self) -> int:
        """The caller's random seed, or a hash of query and history: equal requests get equal seeds."""
        identity = "\0".join([self.query_text, *self.history_item_ids])
        return self.request_seed or crc32(identity.encode(errors="surrogatepass"))

    @property
    def situation(self) -> Situation:
        """Which of query and history are known."""
        if self.query_vector is None:
            return "history" if len(self.history) else "none"
        return "both" if len(self.history) else "query"

    @cached_property
    def step_weights(self) -> Float32Array:
        """The weight of each step of the history; shape [n].

        A step counts what its kind of event counts, and less the further back it is: by the sum of what later steps
        count, so that ten views weighing .1 age a purchase as much as one purchase does.
        """
        if self.event_weights is None:
            steps_back = np.arange(len(self.history) - 1, -1, -1)
            return np.power(self.decay, steps_back).astype(np.float32)
        later = np.cumsum(self.event_weights[::-1], dtype=np.float64)[::-1] - self.event_weights
        return (np.power(self.decay, later) * self.event_weights).astype(np.float32)

    @cached_property
    def weighted_items(self) -> tuple[RowIndices, Float32Array]:
        """The distinct rows of the history, and the sum of the weights of each row's steps."""
        rows, row_of_step = np.unique(self.history, return_inverse=True)
        weights = np.bincount(row_of_step, weights=self.step_weights, minlength=len(rows))
        return rows, weights.astype(np.float32)

    def recent_items(self, count: int) -> tuple[RowIndices, Float32Array]:
        """Return the last ``count`` distinct rows, most recent first, and the weight of each row's heaviest step.

        Without kinds of event, the heaviest step is the last.
        """
        if self.event_weights is None:
            return self._last_items(count)
        rows, first, row_of_step = np.unique(self.history[::-1], return_index=True, return_inverse=True)
        heaviest = np.zeros(len(rows), np.float32)
        np.maximum.at(heaviest, row_of_step, self.step_weights[::-1])
        order = np.argsort(first)[:count]
        return rows[order], heaviest[order]

    def _last_items(self, count: int) -> tuple[RowIndices, Float32Array]:
        """Return the same if each event counts 1: only the end of the history has to be read."""
        steps_back: dict[int, int] = {}
        for step, row in enumerate(reversed(self.history.tolist())):
            if len(steps_back) == count:
                break
            steps_back.setdefault(row, step)
        weights = self.step_weights[::-1][list(steps_back.values())]
        return np.array(list(steps_back), dtype=np.int64), weights
