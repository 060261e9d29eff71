"""Behaviour tables: what people go on to buy after an item, what they buy again, and what everybody buys."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from common.item_graph import ItemGraph

Rows = npt.NDArray[np.int64]

# Chosen on Complete Journey's validation window.
STEPS: Final = 4
DECAY: Final = 0.7
SHRINK: Final = 5.0
NEIGHBOURS: Final = 150


@dataclass(frozen=True)
class Purchases:
    """Training events in the order of person and time, as parallel arrays of shape [events].

    Attributes:
        users: Person numbers, equal for neighbours of one person.
        sessions: Session (basket) numbers; where a shop has none, each event is a session of its own.
        rows: Catalogue rows.
    """

    users: Rows
    sessions: Rows
    rows: Rows


@dataclass(frozen=True)
class Popularity:
    """How much each item is bought, each of shape [items].

    Attributes:
        buyers: Distinct people who bought it.
        events: Events.
        repeat_rate: Share of the events that were not a person's first.
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
    """Count what follows what, decayed over the next four sessions of the same person.

    weight(i → j) = sum over k = 1..4 of 0.7^(k-1) * #(i in a session, j in the k-th after it),
    divided by #(sessions with i) * sum of the decays + 5, a shrinkage that keeps rare items humble.

    Returns:
        `repeat`, the diagonal (buys again), and `follow`, the 150 largest others of each row.
    """
    sessions, session_of = np.unique(purchases.sessions, return_inverse=True)
    ones = np.ones(len(purchases.rows), np.float32)
    bought = sp.csr_matrix((ones, (session_of, purchases.rows)), shape=(len(sessions), items))
    bought.data[:] = 1.0  # twice in one session is once
    owner = np.empty(len(sessions), np.int64)
    owner[session_of] = purchases.users
    counts = (bought.T.tocsr() @ _next_sessions(bought, owner)).tocsr()
    seen = np.asarray(bought.sum(axis=0)).ravel()
    scale = 1.0 / (seen * sum(DECAY**step for step in range(STEPS)) + SHRINK)
    counts.data *= np.repeat(scale.astype(np.float32), np.diff(counts.indptr))
    diagonal = sp.diags(counts.diagonal(), format="csr", dtype=np.float32)
    counts.setdiag(0)
    counts.eliminate_zeros()
    return {"repeat": as_graph(diagonal), "follow": as_graph(keep_largest(counts, NEIGHBOURS))}


def keep_largest(table: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """Keep the ``count`` largest entries of each row; among equal ones the lowest columns."""
    table.sort_indices()
    kept = [_largest(table.data, start, stop, count) for start, stop in pairwise(table.indptr.tolist())]
    entries = np.concatenate([*kept, np.empty(0, np.int64)])
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in kept])])
    return sp.csr_matrix((table.data[entries], table.indices[entries], indptr), shape=table.shape)


def _largest(data: npt.NDArray[np.float32], start: int, stop: int, count: int) -> Rows:
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


def _next_sessions(bought: sp.csr_matrix, owner: Rows) -> sp.csr_matrix:
    """Sum, for each session, the decayed next sessions of the same person; shape [sessions, items]."""
    count = len(owner)
    ahead = sp.csr_matrix(bought.shape, dtype=np.float32)
    for step in range(1, min(STEPS, count - 1) + 1):
        same = (owner[step:] == owner[:-step]).astype(np.float32) * np.float32(DECAY ** (step - 1))
        shift = sp.csr_matrix((same, (np.arange(count - step), np.arange(step, count))), shape=(count, count))
        ahead = ahead + shift @ bought
    return ahead
