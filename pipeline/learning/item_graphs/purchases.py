"""Behaviour tables: what users buy next after an item, what they buy again, and what everybody buys.

Purchases stand for the target of a dataset. Events of other kinds, such as views, count by their weights as what came
before a purchase and in popularity, and never as a purchase.
"""

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

from common.arrays import BoolMask, RowIndices
from common.release.catalogue import Catalogue
from common.release.item_graph import ItemGraph
from pipeline.data.dataset.event_kinds import TARGET, WEIGHT

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
        weights: What each event counts by its kind; empty if each counts 1.
        targets: Whether each event is a purchase; empty if all are.
    """

    users: RowIndices
    sessions: RowIndices
    rows: RowIndices
    ages: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    weights: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    targets: BoolMask = field(default_factory=lambda: np.empty(0, np.bool_))

    @classmethod
    def of(cls, events: pl.DataFrame, catalogue: Catalogue, moment: datetime) -> Self:
        """Number users and sessions of events before a moment; items that the catalogue lacks are left out."""
        return cls.from_rows(events, catalogue.rows_of(events["item_id"].to_list()), moment)

    @classmethod
    def from_rows(cls, events: pl.DataFrame, rows: RowIndices, moment: datetime) -> Self:
        """Number users and sessions of events with the rows of their items, -1 for those to leave out."""
        session = pl.col("session_id") if "session_id" in events.columns else pl.int_range(pl.len())
        age = (pl.lit(moment) - pl.col("timestamp")).dt.total_seconds() / _DAY_S
        numbered = events.with_columns(pl.Series("row", rows), session.alias("session"), age.alias("age"))
        numbered = numbered.filter(pl.col("row") >= 0).sort("user_id", "timestamp", maintain_order=True)
        kinds = WEIGHT in events.columns
        return cls(
            users=numbered["user_id"].rle_id().to_numpy().astype(np.int64),
            sessions=numbered.select(pl.struct("user_id", "session").rle_id())["user_id"].to_numpy().astype(np.int64),
            rows=numbered["row"].to_numpy().astype(np.int64),
            ages=numbered["age"].to_numpy().astype(np.float32),
            weights=numbered[WEIGHT].to_numpy() if kinds else np.empty(0, np.float32),
            targets=numbered[TARGET].to_numpy() if kinds else np.empty(0, np.bool_),
        )

    @property
    def has_kinds(self) -> bool:
        """Whether some events may be no purchases."""
        return len(self.targets) > 0

    @property
    def is_target(self) -> BoolMask:
        """Whether each event is a purchase; shape [events]."""
        return self.targets if self.has_kinds else np.ones(len(self.rows), np.bool_)

    @property
    def counts(self) -> npt.NDArray[np.float32]:
        """What each event counts; shape [events]."""
        return self.weights if self.has_kinds else np.ones(len(self.rows), np.float32)

    def baskets(self, items: int) -> Baskets:
        """Gather the events of each session."""
        numbers, first, session_of = np.unique(self.sessions, return_index=True, return_inverse=True)
        shape, bought = (len(numbers), items), self.is_target
        held = strongest_events(session_of, self.rows, self.counts, shape)
        sold = held
        if self.has_kinds:
            sold = strongest_events(session_of[bought], self.rows[bought], self.counts[bought], shape)
        ages = self.ages[first] if len(self.ages) else np.zeros(len(first), np.float32)
        return Baskets(held, self.users[first], ages, sold)


def strongest_events(
    groups: RowIndices, rows: RowIndices, weights: npt.NDArray[np.float32], shape: tuple[int, int]
) -> sp.csr_matrix:
    """Return what the strongest event of each group with an item counts; sparse [groups, items]."""
    pairs, pair_of = np.unique(groups * shape[1] + rows, return_inverse=True)
    most = np.zeros(len(pairs), np.float32)
    np.maximum.at(most, pair_of, weights)
    return sp.csr_matrix((most, (pairs // shape[1], pairs % shape[1])), shape=shape)


@dataclass(frozen=True, eq=False)
class Baskets:
    """Sessions, those of one user together, oldest first.

    Attributes:
        held: What the strongest event of a session with an item counts, 1 for a purchase; sparse [sessions, items].
        owners: Whose each session is; shape [sessions].
        ages: Days from each session's first event to the moment; shape [sessions].
        sold: 1 if an item was bought in a session; sparse [sessions, items].
    """

    held: sp.csr_matrix
    owners: RowIndices
    ages: npt.NDArray[np.float32]
    sold: sp.csr_matrix

    @property
    def purchases(self) -> Baskets:
        """The same sessions with what was bought alone."""
        return self if self.sold is self.held else Baskets(self.sold, self.owners, self.ages, self.sold)

    def of_items(self, rows: RowIndices) -> Baskets:
        """Return the same sessions with some of the items, in the order of ``rows``."""
        held = self.held[:, rows]
        return Baskets(held, self.owners, self.ages, held if self.sold is self.held else self.sold[:, rows])

    def weights(self, half_life: float) -> npt.NDArray[np.float32]:
        """Return what each session counts that has lost half of its weight every ``half_life`` days."""
        return (0.5 ** (self.ages / np.float32(half_life))).astype(np.float32)


@dataclass(frozen=True)
class Popularity:
    """How much each item is bought, each of shape [items].

    Attributes:
        buyers: Distinct users who bought it; one who did something else with it counts what the strongest event counts.
        events: What its events count together.
        repeat_rate: Share of the purchases that were not a user's first.
    """

    buyers: npt.NDArray[np.float32]
    events: npt.NDArray[np.float32]
    repeat_rate: npt.NDArray[np.float32]


def popularity(purchases: Purchases, items: int) -> Popularity:
    """Count buyers and events of each item."""
    users = int(purchases.users.max(initial=-1)) + 1
    by_user = strongest_events(purchases.users, purchases.rows, purchases.counts, (users, items))
    buyers = np.asarray(by_user.sum(axis=0)).ravel()
    events = np.bincount(purchases.rows, purchases.counts, items)
    repeated = _repeated(purchases, items)
    return Popularity(buyers.astype(np.float32), events.astype(np.float32), repeated.astype(np.float32))


def _repeated(purchases: Purchases, items: int) -> npt.NDArray[np.float64]:
    users, rows = purchases.users[purchases.is_target], purchases.rows[purchases.is_target]
    buyers = np.bincount(np.unique(users * items + rows) % items, minlength=items)
    events = np.bincount(rows, minlength=items)
    return np.asarray((events - buyers) / np.maximum(events, 1))


def transitions(purchases: Purchases, items: int) -> dict[str, ItemGraph]:
    """Count which item is bought after which, decayed over the next four sessions of the same user with a purchase.

    weight(i → j) = sum over k = 1..4 of 0.7^(k-1) * #(i in a session, j bought in the k-th after it),
    divided by #(sessions with i) * sum of the decays + 5, a shrinkage that keeps rare items humble. A session counts
    what its strongest event with i counts.

    Returns:
        `repeat`, the diagonal of purchases alone (buys again), and `follow`, the 150 largest others of each row.
    """
    baskets = purchases.baskets(items)
    repeated = transition_table(baskets.purchases).diagonal()
    diagonal = sp.diags(repeated, format="csr", dtype=np.float32)
    return {"repeat": as_graph(diagonal), "follow": as_graph(keep_largest(follow_table(baskets), NEIGHBOURS))}


def transition_table(baskets: Baskets, half_life: float = math.inf) -> sp.csr_matrix:
    """Count as `transitions` does; a step counts less the longer ago it led to its later session, in days."""
    weights = baskets.weights(half_life)
    counts = (baskets.held.T.tocsr() @ _next_sessions(baskets, weights)).tocsr()
    counts.data *= np.repeat(_scale(baskets, weights), np.diff(counts.indptr))
    return counts


def follow_table(baskets: Baskets, half_life: float = math.inf) -> sp.csr_matrix:
    """Return the transitions without repeat purchases; on the diagonal is who bought an item after viewing it."""
    table, weights = transition_table(baskets, half_life), baskets.weights(half_life)
    viewed = baskets.held - baskets.sold.multiply(baskets.held)
    bought_later = np.asarray(viewed.multiply(_next_sessions(baskets, weights)).sum(axis=0)).ravel()
    table.setdiag(bought_later.astype(np.float32) * _scale(baskets, weights))
    table.eliminate_zeros()
    return table


def _scale(baskets: Baskets, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return what counts of each item are multiplied by; float32[items]."""
    seen = np.asarray(baskets.held.T @ weights).ravel()
    return np.asarray(1.0 / (seen * sum(DECAY**step for step in range(STEPS)) + SHRINK), np.float32)


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
    """Sum, for each session, the decayed next sessions of the same user with a purchase; shape [sessions, items]."""
    owners, count = baskets.owners, len(baskets.owners)
    with_sale = np.flatnonzero(np.diff(baskets.sold.indptr))
    after = np.searchsorted(with_sale, np.arange(count), "right")
    ahead = sp.csr_matrix(baskets.sold.shape, dtype=np.float32)
    for step in range(STEPS):
        sessions = np.flatnonzero(after + step < len(with_sale))
        later = with_sale[after[sessions] + step]
        same = owners[sessions] == owners[later]
        sessions, later = sessions[same], later[same]
        decayed = weights[later] * np.float32(DECAY**step)
        ahead = ahead + sp.csr_matrix((decayed, (sessions, later)), shape=(count, count)) @ baskets.sold
    return ahead
