"""Ordered sequences of items, and what can be counted in them without a single time stamp."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import scipy.sparse as sp

from common.arrays import BoolMask, Float32Array, RowIndices
from common.release.event_weights import WeighedEvents
from pipeline.learning.item_graphs.purchases import strongest_events

# Pairs further apart say nothing more, and long sequences would cost the square of their length.
MAX_GAP: Final = 20


@dataclass(frozen=True, eq=False)
class Sequences:
    """What users took, one user after another, each oldest first.

    Attributes:
        users: User numbers, rising; shape [events].
        rows: Catalogue rows; shape [events].
        items: How many items the catalogue has.
        weights: What each event counts by its kind; None if each counts 1; shape [events].
        targets: Whether each event is of the target; None if all are; shape [events].
    """

    users: RowIndices
    rows: RowIndices
    items: int
    weights: Float32Array | None = None
    targets: BoolMask | None = None
    _counted: dict[float, sp.csr_matrix] = field(default_factory=dict)

    @classmethod
    def of(cls, sequences: Iterable[RowIndices], items: int, events: Sequence[WeighedEvents] = ()) -> Self:
        """Put sequences one after another.

        Args:
            sequences: Rows of each user's items, oldest first; those below 0 are left out.
            items: How many items there are.
            events: What each user's events count; empty if every event counts 1.
        """
        listed = [np.asarray(rows, np.int64) for rows in sequences]
        users = np.repeat(np.arange(len(listed)), [len(rows) for rows in listed])
        rows = np.concatenate([*listed, np.empty(0, np.int64)])
        known = rows >= 0
        if not events:
            return cls(users[known], rows[known], items)
        weights = np.concatenate([one.weights for one in events])[known]
        targets = np.concatenate([one.targets for one in events])[known]
        return cls(users[known], rows[known], items, weights, targets)

    def of_target(self) -> Self:
        """Return the events of the target alone."""
        if self.targets is None:
            return self
        return type(self)(self.users[self.targets], self.rows[self.targets], self.items)

    @property
    def counts(self) -> Float32Array:
        """What each event counts; shape [events]."""
        return np.ones(len(self.rows), np.float32) if self.weights is None else self.weights

    def followed(self, gap: int) -> tuple[RowIndices, RowIndices]:
        """Return places of events and of those ``gap`` later of the same user."""
        places = np.flatnonzero(self.users[:-gap] == self.users[gap:])
        return places, places + gap

    def pairs(self, decay: float) -> sp.csr_matrix:
        """Count C[i, j], each time that j comes after i, as decay^(events between them); shape [items, items].

        With kinds of event, each time counts the product of what the two events count.
        """
        if decay not in self._counted:
            total = sp.csr_matrix((self.items, self.items), dtype=np.float32)
            for gap in range(1, MAX_GAP + 1 if decay else 2):
                before, after = self.followed(gap)
                weights = np.full(len(before), decay ** (gap - 1), np.float32)
                if self.weights is not None:
                    weights *= self.weights[before] * self.weights[after]
                total = total + sp.csr_matrix((weights, (self.rows[before], self.rows[after])), total.shape)
            self._counted[decay] = total.tocsr()
        return self._counted[decay]

    def taken(self) -> sp.csr_matrix:
        """Return what the strongest event of a user with an item counts, 1 for the target; shape [users, items]."""
        users = int(self.users.max(initial=-1)) + 1
        return strongest_events(self.users, self.rows, self.counts, (users, self.items))

    def events(self) -> Float32Array:
        """Return what the events of each item count together; shape [items]."""
        return np.bincount(self.rows, self.counts, self.items).astype(np.float32)


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
    events, step, counts = sequences.events(), sequences.pairs(0.0), sequences.counts
    of_target = sequences.of_target()
    bought = of_target.events()
    change = np.flatnonzero(np.diff(sequences.users, prepend=-1))
    first = np.bincount(sequences.rows[change], counts[change], sequences.items)
    ends = np.append(change[1:], len(sequences.rows)) - 1
    last = np.bincount(sequences.rows[ends], counts[ends] if len(counts) else None, sequences.items)
    found = {
        "repeat_rate": of_target.pairs(0.0).diagonal() / (bought + 2),
        "first_share": (first + 1) / (events + 3),
        "last_share": (last + 1) / (events + 3),
        "followers": np.diff(step.indptr),
        "followed": np.diff(step.tocsc().indptr),
        "near_popularity": kernel @ events,
    }
    return {name: np.asarray(values, np.float32) for name, values in found.items()}
