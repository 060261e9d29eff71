"""What the sources are told of a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal
from zlib import crc32

import numpy as np

from common.arrays import Float32Array, RowIndices
from common.text import words

Situation = Literal["query", "history", "both", "none"]


@dataclass(frozen=True, eq=False)
class UserContext:
    """A user as the sources see one.

    Attributes:
        query: The unit vector of what the user searches for, None without a query; shape [dimension].
        history: Rows of the items that the user bought or looked at, oldest first, repeats kept; shape [n].
        decay: What one step back in the history weighs less, above 0 to 1.
        text: What the user searches for in words; empty without.
        given_seed: What the caller gave to tell users apart to chance; 0 where it gave nothing.
        item_ids: The history as it was given.
    """

    query: Float32Array | None
    history: RowIndices
    decay: float
    text: str = ""
    given_seed: int = 0
    item_ids: Sequence[str] = ()

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The distinct words of the query."""
        return tuple(dict.fromkeys(words(self.text)))

    @cached_property
    def seed(self) -> int:
        """What chance begins with: the seed given, else one that query and history make, the same for the same."""
        return self.given_seed or crc32("\0".join([self.text, *self.item_ids]).encode(errors="surrogatepass"))

    @property
    def situation(self) -> Situation:
        """What is known of the user."""
        if self.query is None:
            return "history" if len(self.history) else "none"
        return "both" if len(self.history) else "query"

    @cached_property
    def weights(self) -> Float32Array:
        """What each step of the history weighs: the last one 1, those before less and less; shape [n]."""
        steps_back = np.arange(len(self.history) - 1, -1, -1)
        return np.power(self.decay, steps_back).astype(np.float32)

    @cached_property
    def interests(self) -> tuple[RowIndices, Float32Array]:
        """The distinct rows of the history, and the sum of what each one's steps weigh."""
        rows, places = np.unique(self.history, return_inverse=True)
        return rows, np.bincount(places, weights=self.weights, minlength=len(rows)).astype(np.float32)

    def recent(self, count: int) -> tuple[RowIndices, Float32Array]:
        """Return the last ``count`` distinct rows, the most recent first, and what each one's last step weighs."""
        _, first = np.unique(self.history[::-1], return_index=True)
        places = len(self.history) - 1 - np.sort(first)[:count]
        return self.history[places], self.weights[places]
