"""The catalogue that changes while it is searched: one writer, and readers that hold a stable view."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.gc_freeze import freeze_new_objects, refreeze_heap
from common.release.catalogue import Catalogue
from services.retrieval.catalogue.delta import Delta, empty_delta
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.index.delta_index import Codes, no_codes

# Vectors that differ by no more in any number are the same: scaling one to unit length again moves its last digits.
_SAME: Final = 1e-6
# So many added items are kept out of garbage collection at a time, which would hold up every search; so does settling
# them, for 4 ms a thousand.
_SETTLED_ITEMS: Final = 1_000
# What calls under way hold is kept with them, a few hundred kilobytes each time: after so many times it is collected.
_SETTLED_ANEW: Final = 100
# Superseded rows among the added items that are not worth leaving out yet.
_FEW_ROWS: Final = 1_000


@dataclass(frozen=True)
class ChangeCounts:
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
        released: Returns the vectors of the release's items, given their rows; None where they are not known.
        codes: Of the release; see `AddedGraph`.
    """

    def __init__(
        self,
        base: Catalogue,
        dimension: int,
        released: Callable[[RowIndices], Float32Array] | None = None,
        codes: Codes = no_codes,
    ) -> None:
        self._released = released
        self._kept = np.ones(len(base), dtype=np.bool_)
        added = empty_delta(base.table.select(base.attributes()).schema, dimension, codes)
        self._view = Snapshot(0, base, added, np.ones(len(base), dtype=np.bool_))
        self._writer = threading.Lock()
        self._settled = self._settlings = 0

    @property
    def view(self) -> Snapshot:
        """The catalogue as it is now."""
        return self._view

    def apply(self, items: Sequence[Item], vectors: Float32Array, deleted: Sequence[str]) -> ChangeCounts:
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
            origin = view.base.rows_of([item.item_id for item in items])
            added = view.added
            if items:
                added = added.extended(items, vectors, origin, self._is_own(origin, vectors))
            self._view = _changed(view, added, np.concatenate([replaced, gone]))
        return ChangeCounts(
            inserted=int((replaced < 0).sum()),
            replaced=int((replaced >= 0).sum()),
            deleted=int((gone >= 0).sum()),
            missing=int((gone < 0).sum()),
        )

    def let_go(self) -> BoolMask:
        """Give up the release's vectors of items that were deleted or have another one now, for good.

        Returns:
            Which items of the release may still be found by its vectors; shape [items]. No other one ever will be, also
            where it comes back with the same vector.
        """
        with self._writer:
            stand_in = self._view.stand_in
            if stand_in is not None:
                self._kept = self._kept & (stand_in >= 0)
            return self._kept

    def tend(self) -> bool:
        """Do what is due in the background, and return whether something was; for one thread at a time.

        Added items that came since are put into their graph; superseded ones are left out, once they are the larger
        part, of a fresh numbering and graph. Views taken before stay as they are.
        """
        view = self._view
        if self._superseded(view):
            self._leave_out(view)
        elif view.added.graph.is_behind(len(view.added)):
            view.added.graph.grow(view.added.vectors, view.added.own)
            self._settle_some(len(view.added))
        else:
            return False
        return True

    def _settle_some(self, added: int) -> None:
        """Keep what was added out of garbage collection, where it has come to be many since the last time."""
        self._settled = min(self._settled, added)  # superseded ones may have been left out
        if added - self._settled < _SETTLED_ITEMS:
            return
        self._settled = added
        self._settlings += 1
        if self._settlings % _SETTLED_ANEW:
            freeze_new_objects()
        else:
            refreeze_heap()

    def _is_own(self, origin: RowIndices, vectors: Float32Array) -> BoolMask:
        """Return which items have another vector than their origin: a new price needs no place in a graph."""
        own = np.ones(len(origin), dtype=np.bool_)
        known = np.flatnonzero((origin >= 0) & self._kept[origin])
        if self._released is not None and len(known):
            own[known] = (np.abs(self._released(origin[known]) - vectors[known]) > _SAME).any(axis=1)
        return own

    def _superseded(self, view: Snapshot) -> bool:
        there = int(np.count_nonzero(view.alive[len(view.base) :]))
        return len(view.added) - there > max(_FEW_ROWS, there)

    def _leave_out(self, before: Snapshot) -> None:
        """Leave superseded rows out; the bulk without holding up the writer."""
        kept = before.added.kept(before.alive[len(before.base) :])
        if kept.graph.is_behind(len(kept)):
            kept.graph.grow(kept.vectors, kept.own)
        with self._writer:
            self._view = _renumbered(self._view, before, kept)


def _changed(view: Snapshot, added: Delta, dead: RowIndices) -> Snapshot:
    alive = np.concatenate([view.alive, np.ones(len(added) - len(view.added), dtype=np.bool_)])
    alive[dead[dead >= 0]] = False
    return Snapshot(view.version + 1, view.base, added, alive)


def _renumbered(view: Snapshot, before: Snapshot, kept: Delta) -> Snapshot:
    """Return ``view`` with the added items of ``before`` replaced by those ``kept`` of it, and what came since."""
    base, first = len(view.base), len(before.added)
    alive = view.alive[base:]
    late = first + np.flatnonzero(alive[first:])
    items = [view.added.items[number] for number in late.tolist()]
    state = view.added
    added = kept.extended(items, state.vectors[late], state.origin[late], state.own[late]) if items else kept
    still = alive[:first][before.alive[base:]]
    rows = np.concatenate([view.alive[:base], still, np.ones(len(late), dtype=np.bool_)])
    return Snapshot(view.version + 1, view.base, added, rows)
