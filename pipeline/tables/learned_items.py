"""Which items learn from behaviour: all items are in the catalogue, and some have enough buyers to be counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from common.arrays import RowIndices
from common.release.catalogue import Catalogue
from common.release.item_graph import ItemGraph
from pipeline.data.dataset.event_kinds import target_events


def learned_items(events: pl.DataFrame, min_buyers: int) -> pl.Series:
    """Return the ids of items with at least ``min_buyers`` distinct buyers in ``events``."""
    buyers = target_events(events).group_by("item_id").agg(pl.col("user_id").n_unique().alias("buyers"))
    return buyers.filter(pl.col("buyers") >= min_buyers)["item_id"]


def events_of_learned(events: pl.DataFrame, min_buyers: int) -> pl.DataFrame:
    """Return the events of items with at least ``min_buyers`` distinct buyers in ``events``."""
    return events.filter(pl.col("item_id").is_in(learned_items(events, min_buyers).implode()))


@dataclass(frozen=True, eq=False)
class GraphItems:
    """The items of tables of all pairs, which are computed over fewer items than a large catalogue has.

    Attributes:
        rows: Their catalogue rows, ascending; shape [items of the tables].
        items: Number of items of the catalogue.
    """

    rows: RowIndices
    items: int

    @classmethod
    def choose(cls, catalogue: Catalogue, events: pl.DataFrame, min_buyers: int, max_items: int) -> GraphItems:
        """Choose every item if there are at most ``max_items``, else those with enough buyers in ``events``."""
        if len(catalogue) <= max_items:
            return cls(np.arange(len(catalogue)), len(catalogue))
        rows = catalogue.rows_of(learned_items(events, max(1, min_buyers)).to_list())
        return cls(np.sort(rows[rows >= 0]), len(catalogue))

    @property
    def are_all(self) -> bool:
        """Whether every item of the catalogue is among them."""
        return len(self.rows) == self.items

    def places_of(self, rows: RowIndices) -> RowIndices:
        """Return the places in the tables of catalogue rows, -1 for those that the tables do not have."""
        place = np.full(self.items + 1, -1)  # the last for items that the catalogue does not have, -1
        place[self.rows] = np.arange(len(self.rows))
        return np.asarray(place[rows], np.int64)

    def with_all_rows(self, graph: ItemGraph) -> ItemGraph:
        """Return a graph over the tables' items as a graph over the catalogue."""
        if self.are_all:
            return graph
        counts = np.zeros(self.items, np.int64)
        counts[self.rows] = np.diff(graph.indptr)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return ItemGraph(indptr, self.rows[graph.indices].astype(np.int32), graph.weights)

    def square(self, table: sp.csr_matrix) -> sp.csr_matrix:
        """Return a sparse table over the tables' items as one over the catalogue."""
        if self.are_all:
            return table
        entries = table.tocoo()
        rows, columns = self.rows[entries.row], self.rows[entries.col]
        return sp.csr_matrix((entries.data, (rows, columns)), (self.items, self.items))
