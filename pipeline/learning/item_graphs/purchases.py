"""Behaviour tables: what users buy next after an item, what they buy again, and what everybody buys."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp

from common.arrays import RowIndices
from common.release.catalogue import Catalogue
from common.release.item_graph import ItemGraph

_DAY_S: Final = 86_400
# Chosen on Complete Journey's validation window.
STEPS: Final = 4
DECAY: Final = 0.7
SHRINK: Final = 5.0
NEIGHBOURS: Final = 150


@dataclass(frozen=True)
class Purchases:
    """Training events in the order of user and time, as parallel arrays of shape [events].

    Attributes:
        users: User numbers, equal for neighbours of one user.
        sessions: Session (basket) numbers; where a shop has none, each event is a session of its own.
        rows: Catalogue rows.
        ages: Days from each event to the moment that the tables are counted at; empty if nothing asks for them.
    """

    users: RowIndices
    sessions: RowIndices
    rows: RowIndices
    ages: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    @classmethod
    def of(cls, events: pl.DataFrame, catalogue: Catalogue, moment: datetime) -> Self:
        """Number users and sessions of events before a moment; items that the catalogue lacks are left out."""
        rows = catalogue.rows_of(events["item_id"].to_list())
        session = pl.col("session_id") if "session_id" in events.columns else pl.int_range(pl.len())
        age = (pl.lit(moment) - pl.col("timestamp")).dt.total_seconds() / _DAY_S
        numbered = events.with_columns(pl.Series("row", rows), session.alias("session"), age.alias("age"))
        numbered = numbered.filter(pl.col("row") >= 0).sort("user_id", "timestamp", maintain_order=True)
        return cls(
            users=numbered["user_id"].rle_id().to_numpy().astype(np.int64),
            sessions=numbered.select(pl.struct("user_id", "session").rle_id())["user_id"].to_numpy().astype(np.int64),
            rows=numbered["row"].to_numpy().astype(np.int64),
            ages=numbered["age"].to_numpy().astype(np.float32),
        )

    def baskets(self, items: int) -> Baskets:
        """Gather the events of each session."""
        numbers, first, session_of = np.unique(self.sessions, return_index=True, return_inverse=True)
        ones = np.ones(len(self.rows), np.float32)
        held = sp.csr_matrix((ones, (session_of, self.rows)), shape=(len(numbers), items))
        held.data[:] = 1.0  # twice in one session is once
        ages = self.ages[first] if len(self.ages) else np.zeros(len(first), np.float32)
        return Baskets(held, self.users[first], ages)


@dataclass(frozen=True, eq=False)
class Baskets:
    """Sessions, those of one user together, oldest first.

    Attributes:
        held: 1 if a session has an item; sparse [sessions, items].
        owners: Whose each session is; shape [sessions].
        ages: Days from each session's first event to the moment; shape [sessions].
    """

    held: sp.csr_matrix
    owners: RowIndices
    ages: npt.NDArray[np.float32]

    def weights(self, half_life: float) -> npt.NDArray[np.float32]:
        """Return what each session counts that has lost half of its weight every ``half_life`` days."""
        return (0.5 ** (self.ages / np.float32(half_life))).astype(np.float32)


@dataclass(frozen=True)
class Popularity:
    """How much each item is bought, each of shape [items].

    Attributes:
        buyers: Distinct users who bought it.
        events: Events.
        repeat_rate: Share of the events that were not a user's first.
    """

    buyers: npt.NDArray[np.float32]
    events: npt.NDArray[np.float32]
    repeat_rate: npt.NDArray[np.float32]


def popularity(purchases: Purchases, items: int) -> Popularity:
    """Count buyers and events of each item."""
    pairs = np.unique(purchases.users * items + purchases.rows)
    buyers = np.bincount(pairs % items, minlength=items)
    events = np.bincount(purchases.rows, minlength=items)
    repeated = (events - buyers) / np.maximum(events, 1)
    return Popularity(buyers.astype(np.float32), events.astype(np.float32), repeated.astype(np.float32))


def transitions(purchases: Purchases, items: int) -> dict[str, ItemGraph]:
    """Count which item is bought after which, decayed over the next four sessions of the same user.

    weight(i → j) = sum over k = 1..4 of 0.7^(k-1) * #(i in a session, j in the k-th after it),
    divided by #(sessions with i) * sum of the decays + 5, a shrinkage that keeps rare items humble.

    Returns:
        `repeat`, the diagonal (buys again), and `follow`, the 150 largest others of each row.
    """
    counts = transition_table(purchases.baskets(items))
    diagonal = sp.diags(counts.diagonal(), format="csr", dtype=np.float32)
    counts.setdiag(0)
    counts.eliminate_zeros()
    return {"repeat": as_graph(diagonal), "follow": as_graph(keep_largest(counts, NEIGHBOURS))}


def transition_table(baskets: Baskets, half_life: float = math.inf) -> sp.csr_matrix:
    """Count as `transitions` does; a step counts less the longer ago it led to its later session, in days."""
    weights = baskets.weights(half_life)
    counts = (baskets.held.T.tocsr() @ _next_sessions(baskets, weights)).tocsr()
    seen = np.asarray(baskets.held.T @ weights).ravel()
    scale = 1.0 / (seen * sum(DECAY**step for step in range(STEPS)) + SHRINK)
    counts.data *= np.repeat(scale.astype(np.float32), np.diff(counts.indptr))
    return counts


def keep_largest(table: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """Keep the ``count`` largest entries of each row; among equal ones the lowest columns."""
    table.sort_indices()
    kept = [_largest(table.data, start, stop, count) for start, stop in pairwise(table.indptr.tolist())]
    entries = np.concatenate([*kept, np.empty(0, np.int64)])
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in kept])])
    return sp.csr_matrix((table.data[entries], table.indices[entries], indptr), shape=table.shape)


def _largest(data: npt.NDArray[np.float32], start: int, stop: int, count: int) -> RowIndices:
    """Return the entry numbers of the largest of one row, rising; by a partition, since sorting rows takes longer."""
    if stop - start <= count:
        return np.arange(start, stop)
    values = data[start:stop]
    last = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values > last)
    equal = np.flatnonzero(values == last)[: count - len(above)]
    return start + np.sort(np.concatenate([above, equal]))


def as_graph(table: sp.csr_matrix) -> ItemGraph:
    """Turn a sparse table into an item graph."""
    table.sort_indices()
    return ItemGraph(
        table.indptr.astype(np.int64), table.indices.astype(np.int32), np.ascontiguousarray(table.data, np.float32)
    )


def _next_sessions(baskets: Baskets, weights: npt.NDArray[np.float32]) -> sp.csr_matrix:
    """Sum, for each session, the decayed next sessions of the same user; shape [sessions, items]."""
    owners, count = baskets.owners, len(baskets.owners)
    ahead = sp.csr_matrix(baskets.held.shape, dtype=np.float32)
    for step in range(1, min(STEPS, count - 1) + 1):
        same = (owners[step:] == owners[:-step]) * weights[step:] * np.float32(DECAY ** (step - 1))
        shift = sp.csr_matrix((same, (np.arange(count - step), np.arange(step, count))), shape=(count, count))
        ahead = ahead + shift @ baskets.held
    return ahead
