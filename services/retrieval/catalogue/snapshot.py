"""A snapshot of the live catalogue: what one search sees from beginning to end.

::

    row         0 ─────────────── len(base) ─────────────── row_count
                │ release's catalogue │ delta: items added since │
    is_live     │ 1 1 0 1 1 0 1       │ 1 0 1 1                  │
                      │     └ deleted     │ └ superseded by a later row
                      └ replaced: `replacement_row` leads to the row in the delta, whose `origin` leads back

An upsert appends a row to the delta and clears `is_live` of the row that it replaces. A deletion only clears `is_live`.
Behaviour and popularity are known for rows of the release, so a replaced item is looked up by its origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa

from common.arrays import BoolMask, RowIndices
from common.release.catalogue import Catalogue
from services.retrieval.catalogue.delta import Delta
from services.retrieval.catalogue.item import Item

_COLUMNS: Final = ("item_id", "title", "brand", "category", "description", "price", "available")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The release's items and those added since. Immutable.

    Attributes:
        version: Grows with every change.
        base: The release's catalogue.
        delta: The items added since.
        is_live: Which rows are there, neither superseded nor deleted; shape [rows].
    """

    version: int
    base: Catalogue
    delta: Delta
    is_live: BoolMask

    @property
    def row_count(self) -> int:
        """Rows, superseded and deleted ones included."""
        return len(self.is_live)

    @cached_property
    def item_count(self) -> int:
        """Items."""
        return int(np.count_nonzero(self.is_live))

    @property
    def delta_is_live(self) -> BoolMask:
        """Which rows of the delta are live; shape [items of the delta]."""
        return self.is_live[len(self.base) :]

    @cached_property
    def current_row(self) -> RowIndices | None:
        """The row that each item of the release has now, -1 if it was deleted; None while no row changed."""
        base = len(self.base)
        gone = np.flatnonzero(~self.is_live[:base])
        if not len(gone):
            return None
        rows = np.arange(base)
        rows[gone] = -1
        replacing = np.flatnonzero(self.delta_is_live & (self.delta.origin >= 0))
        rows[self.delta.origin[replacing]] = replacing + base
        return rows

    @cached_property
    def replacement_row(self) -> RowIndices | None:
        """The row to return for each item that is found by the release's vector; None while each is its own.

        An item that was replaced without a new vector, by a new price say, is returned as its new row. -1 marks items
        that were deleted or have another vector now.
        """
        rows = self.current_row
        if rows is None:
            return None
        moved = np.flatnonzero(self.delta_is_live & self.delta.has_own_vector & (self.delta.origin >= 0))
        replacement_row = rows.copy()
        replacement_row[self.delta.origin[moved]] = -1
        return replacement_row

    @cached_property
    def visible_row(self) -> RowIndices | None:
        """The same followed by the rows of the delta, which are returned as themselves; shape [rows]."""
        rows = self.replacement_row
        return None if rows is None else np.concatenate([rows, np.arange(len(rows), self.row_count)])

    @property
    def delta_rows_without_vector(self) -> RowIndices:
        """Live rows of the delta that are found by the vectors of their origins."""
        return np.flatnonzero(self.delta_is_live & ~self.delta.has_own_vector)

    def vector_origin_of(self, rows: RowIndices) -> RowIndices:
        """Return the items of the release whose vectors ``rows`` have, -1 for a vector of the delta; shape [rows]."""
        if not len(self.delta):
            return rows
        in_delta = rows >= len(self.base)
        delta_rows = np.where(in_delta, rows - len(self.base), 0)
        return np.where(in_delta & self.delta.has_own_vector[delta_rows], -1, self.origin_of(rows))

    def row_of(self, item_id: str) -> int | None:
        """Return the row of an item, None if the catalogue does not have it."""
        delta_row = self.delta.last_row_of(item_id)
        row = self.base.row_of(item_id) if delta_row is None else len(self.base) + delta_row
        return row if row is not None and self.is_live[row] else None

    def rows_of(self, item_ids: Sequence[str]) -> RowIndices:
        """Return the rows of items, -1 for unknown ones; shape [ids]."""
        rows = (self.row_of(item_id) for item_id in item_ids)
        return np.array([-1 if row is None else row for row in rows], dtype=np.int64)

    def history_rows(self, item_ids: Sequence[str]) -> RowIndices:
        """Return the rows of items of a history, -1 for unknown ones; shape [ids].

        A deleted item of the release has a row here, because it still shows what the user likes.
        """
        rows = self.base.rows_of(item_ids)
        if len(self.delta):
            current = self.rows_of(item_ids)
            rows = np.where(current >= 0, current, rows)
        return rows

    def origin_of(self, rows: RowIndices) -> RowIndices:
        """Return rows of the release's catalogue, -1 for items that it does not have; shape [rows]."""
        if not len(self.delta):
            return rows
        in_delta = rows >= len(self.base)
        return np.where(in_delta, self.delta.origin[np.where(in_delta, rows - len(self.base), 0)], rows)

    def item_ids(self, rows: RowIndices) -> list[str]:
        """Return the ids of rows."""
        base = len(self.base)
        return [self.base.item_ids[row] if row < base else self.delta.item_id(row - base) for row in rows.tolist()]

    def items_at(self, rows: RowIndices) -> list[Item]:
        """Return whole items, in the order of ``rows``."""
        base = len(self.base)
        of_base = rows[rows < base]
        columns = (
            [self.base.table[name].take(pa.array(of_base)).to_pylist() for name in _COLUMNS] if len(of_base) else []
        )
        released = map(_item, zip(*columns, strict=True))
        return [next(released) if row < base else self.delta.items[row - base] for row in rows.tolist()]


def _item(values: Sequence[Any]) -> Item:
    """Make an item of a row of `_COLUMNS`; missing texts become empty, a missing price stays None."""
    item_id, title, brand, category, description, price, available = values
    return Item(item_id, title, brand or "", category or "", description or "", price, available)
