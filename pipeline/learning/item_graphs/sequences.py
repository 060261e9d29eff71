"""Ordered sequences of items, and what can be counted in them without a single time stamp."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import scipy.sparse as sp

from common.arrays import Float32Array, RowIndices

# Pairs further apart say nothing more, and long sequences would cost the square of their length.
MAX_GAP: Final = 20


@dataclass(frozen=True, eq=False)
class Sequences:
    """What users took, one user after another, each oldest first.

    Attributes:
        users: User numbers, rising; shape [events].
        rows: Catalogue rows; shape [events].
        items: How many items the catalogue has.
    """

    users: RowIndices
    rows: RowIndices
    items: int
    _counted: dict[float, sp.csr_matrix] = field(default_factory=dict)

    @classmethod
    def of(cls, sequences: Iterable[RowIndices], items: int) -> Self:
        """Put sequences one after another."""
        listed = [np.asarray(rows, np.int64) for rows in sequences]
        users = np.repeat(np.arange(len(listed)), [len(rows) for rows in listed])
        return cls(users, np.concatenate([*listed, np.empty(0, np.int64)]), items)

    def followed(self, gap: int) -> tuple[RowIndices, RowIndices]:
        """Return places of events and of those ``gap`` later of the same user."""
        places = np.flatnonzero(self.users[:-gap] == self.users[gap:])
        return places, places + gap

    def pairs(self, decay: float) -> sp.csr_matrix:
        """Count C[i, j], each time that j comes after i, as decay^(events between them); shape [items, items]."""
        if decay not in self._counted:
            total = sp.csr_matrix((self.items, self.items), dtype=np.float32)
            for gap in range(1, MAX_GAP + 1 if decay else 2):
                before, after = self.followed(gap)
                weights = np.full(len(before), decay ** (gap - 1), np.float32)
                total = total + sp.csr_matrix((weights, (self.rows[before], self.rows[after])), total.shape)
            self._counted[decay] = total.tocsr()
        return self._counted[decay]

    def taken(self) -> sp.csr_matrix:
        """Return 1 if a user took an item, however often; shape [users, items]."""
        users = int(self.users.max(initial=-1)) + 1
        ones = np.ones(len(self.rows), np.float32)
        taken = sp.csr_matrix((ones, (self.users, self.rows)), (users, self.items))
        taken.data[:] = 1.0
        return taken

    def events(self) -> Float32Array:
        """Count the events of each item; shape [items]."""
        return np.bincount(self.rows, minlength=self.items).astype(np.float32)


def statistics(sequences: Sequences, kernel: sp.csr_matrix) -> dict[str, Float32Array]:
    """Say of each item what place it has in sequences; float32[items] each.

    Args:
        sequences: The sequences.
        kernel: Which items are alike, row-stochastic.

    Returns:
        ``repeat_rate`` (its own successor), ``first_share`` and ``last_share`` of its events that begin and end a
        sequence, ``followers`` and ``followed`` (distinct items next to it), ``near_popularity`` (events of items
        like it).
    """
    events, step = sequences.events(), sequences.pairs(0.0)
    change = np.flatnonzero(np.diff(sequences.users, prepend=-1))
    first = np.bincount(sequences.rows[change], minlength=sequences.items)
    last = np.bincount(sequences.rows[np.append(change[1:], len(sequences.rows)) - 1], minlength=sequences.items)
    found = {
        "repeat_rate": step.diagonal() / (events + 2),
        "first_share": (first + 1) / (events + 3),
        "last_share": (last + 1) / (events + 3),
        "followers": np.diff(step.indptr),
        "followed": np.diff(step.tocsc().indptr),
        "near_popularity": kernel @ events,
    }
    return {name: np.asarray(values, np.float32) for name, values in found.items()}
