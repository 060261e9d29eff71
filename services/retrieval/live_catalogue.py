"""The catalogue that changes while it is searched: one writer, and readers that hold a stable view."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.catalogue import Catalogue
from services.retrieval.added_items import AddedItems, no_items
from services.retrieval.catalogue_view import CatalogueView
from services.retrieval.items import Item
from services.retrieval.vector_index import Floats, Mask, Rows

# Superseded rows among the added items that are not worth leaving out yet.
_FEW_ROWS: Final = 1_000


@dataclass(frozen=True)
class Applied:
    """What a change did to the catalogue."""

    inserted: int = 0
    replaced: int = 0
    deleted: int = 0
    missing: int = 0


class LiveCatalogue:
    """A release's catalogue with changes on top. A change is seen whole by every view taken after it.

    Args:
        base: The release's catalogue.
        dimension: The encoder's.
    """

    def __init__(self, base: Catalogue, dimension: int) -> None:
        names = ["item_id", "title", "description", *base.attributes()]
        added = no_items(base.table.select(names).schema, dimension)
        self._view = CatalogueView(0, base, added, np.ones(len(base), dtype=np.bool_))
        self._writer = threading.Lock()

    @property
    def view(self) -> CatalogueView:
        """The catalogue as it is now."""
        return self._view

    def apply(self, items: Sequence[Item], vectors: Floats, deleted: Sequence[str]) -> Applied:
        """Upsert items, delete others, and show both at once.

        Args:
            items: Items with distinct ids, replaced whole where they are there.
            vectors: Their unit embeddings; shape [items, dimension].
            deleted: Ids to delete; unknown ones are counted as missing.
        """
        with self._writer:
            view = self._view
            replaced = view.rows_of([item.item_id for item in items])
            gone = view.rows_of(deleted)
            self._view = _changed(view, items, vectors, deleted, np.concatenate([replaced, gone]))
        return Applied(
            inserted=int((replaced < 0).sum()),
            replaced=int((replaced >= 0).sum()),
            deleted=int((gone >= 0).sum()),
            missing=int((gone < 0).sum()),
        )


def _changed(
    view: CatalogueView, items: Sequence[Item], vectors: Floats, deleted: Sequence[str], dead: Rows
) -> CatalogueView:
    origin = view.base.rows_of([item.item_id for item in items])
    added = view.added.without(deleted) if deleted else view.added
    added = added.extended(items, vectors, origin) if items else added
    alive = np.concatenate([view.alive, np.ones(len(items), dtype=np.bool_)])
    alive[dead[dead >= 0]] = False
    return CatalogueView(view.version + 1, view.base, *_compacted(added, alive, len(view.base)))


def _compacted(added: AddedItems, alive: Mask, base: int) -> tuple[AddedItems, Mask]:
    """Leave superseded added rows out once they are the larger part; rows are told by one view alone."""
    there = len(added.number_of)
    if len(added) - there <= max(_FEW_ROWS, there):
        return added, alive
    return added.kept(), np.concatenate([alive[:base], np.ones(there, dtype=np.bool_)])
