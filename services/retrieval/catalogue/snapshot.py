"""One stable state of the live catalogue: what a search sees from beginning to end."""

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

_READ: Final = ("item_id", "title", "brand", "category", "description", "price", "available")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The release's items and those added since. Nothing in it ever changes.

    A row counts through the release's catalogue first and the added items behind it. An item of the release that was
    replaced has a new row; its old one, the origin, still leads to its behaviour and popularity.

    Attributes:
        version: Grows with every change.
        base: The release's catalogue.
        added: The items added since.
        alive: Which rows are there, neither replaced nor deleted; shape [rows].
    """

    version: int
    base: Catalogue
    added: Delta
    alive: BoolMask

    @property
    def rows(self) -> int:
        """How many rows there are, replaced and deleted ones included."""
        return len(self.alive)

    @cached_property
    def items(self) -> int:
        """How many items there are."""
        return int(np.count_nonzero(self.alive))

    @cached_property
    def current_row(self) -> RowIndices | None:
        """Where each item of the release is now, -1 where it was deleted; None while all are where they were."""
        base = len(self.base)
        gone = np.flatnonzero(~self.alive[:base])
        if not len(gone):
            return None
        rows = np.arange(base)
        rows[gone] = -1
        replacing = np.flatnonzero(self.alive[base:] & (self.added.origin >= 0))
        rows[self.added.origin[replacing]] = replacing + base
        return rows

    @cached_property
    def stand_in(self) -> RowIndices | None:
        """Which row is found by the vector that the release has of each item; None while each is found by its own.

        An item that was replaced with the same vector, by a new price say, is found as its new row; -1 stands for items
        that were deleted, or have another vector now.
        """
        rows = self.current_row
        if rows is None:
            return None
        elsewhere = np.flatnonzero(self.alive[len(self.base) :] & self.added.own & (self.added.origin >= 0))
        stand_in = rows.copy()
        stand_in[self.added.origin[elsewhere]] = -1
        return stand_in

    @cached_property
    def found_as(self) -> RowIndices | None:
        """Return `stand_in` with the added items behind it, which are found as themselves; shape [rows]."""
        stand_in = self.stand_in
        return None if stand_in is None else np.concatenate([stand_in, np.arange(len(stand_in), self.rows)])

    @property
    def standing_in(self) -> RowIndices:
        """Numbers of the added items that are found by the vectors of their origins."""
        return np.flatnonzero(self.alive[len(self.base) :] & ~self.added.own)

    def released(self, rows: RowIndices) -> RowIndices:
        """Return the items of the release that have the vectors of ``rows``, -1 where these have their own; [rows]."""
        if not len(self.added):
            return rows
        numbers = np.where(rows >= len(self.base), rows - len(self.base), 0)
        return np.where((rows >= len(self.base)) & self.added.own[numbers], -1, self.origin_of(rows))

    def row_of(self, item_id: str) -> int | None:
        """Return the row of an item, None where it is not in the catalogue (any more)."""
        number = self.added.number_of(item_id)
        row = self.base.row_of(item_id) if number is None else len(self.base) + number
        return row if row is not None and self.alive[row] else None

    def rows_of(self, item_ids: Sequence[str]) -> RowIndices:
        """Return the rows of items, -1 where unknown; shape [ids]."""
        rows = (self.row_of(item_id) for item_id in item_ids)
        return np.array([-1 if row is None else row for row in rows], dtype=np.int64)

    def history_rows(self, item_ids: Sequence[str]) -> RowIndices:
        """Return the rows of items that a user knew, -1 where unknown; shape [ids].

        An item of the release that was deleted since still says what the user likes.
        """
        rows = self.base.rows_of(item_ids)
        if len(self.added):
            now = self.rows_of(item_ids)
            rows = np.where(now >= 0, now, rows)
        return rows

    def origin_of(self, rows: RowIndices) -> RowIndices:
        """Return rows of the release's catalogue, -1 for items that it does not have; shape [rows]."""
        if not len(self.added):
            return rows
        added = rows >= len(self.base)
        return np.where(added, self.added.origin[np.where(added, rows - len(self.base), 0)], rows)

    def item_ids(self, rows: RowIndices) -> list[str]:
        """Return the ids of rows."""
        base = len(self.base)
        return [self.base.item_ids[row] if row < base else self.added.item_id(row - base) for row in rows.tolist()]

    def read(self, rows: RowIndices) -> list[Item]:
        """Read items whole, in the order of ``rows``."""
        base = len(self.base)
        of_base = rows[rows < base]
        columns = [self.base.table[name].take(pa.array(of_base)).to_pylist() for name in _READ] if len(of_base) else []
        released = map(_item, zip(*columns, strict=True))
        return [next(released) if row < base else self.added.items[row - base] for row in rows.tolist()]


def _item(values: Sequence[Any]) -> Item:
    """Make an item of the columns read; missing texts are empty, a missing price stays None."""
    item_id, title, brand, category, description, price, available = values
    return Item(item_id, title, brand or "", category or "", description or "", price, available)
