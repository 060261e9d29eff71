"""Which items a request may be answered with: alive, passing the filter, not excluded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple
from weakref import ref

import numpy as np
import pyarrow as pa

from common.filters import Filter
from services.retrieval.added_items import AddedItems, Shelf
from services.retrieval.catalogue_view import CatalogueView
from services.retrieval.filters import check_filter, evaluate
from services.retrieval.item_vectors import ItemVectors
from services.retrieval.lru_cache import LruCache
from services.retrieval.vector_index import Mask, Rows

_NOTHING: Final[Mask] = np.empty(0, dtype=np.bool_)


class Joined(NamedTuple):
    """What of a release and of the items added to it is allowed, by one numbering of both.

    Attributes:
        vectors: Which vectors may be found, the release's before the added items'; shape [vectors + added items].
        items: Which items may be found by these, each by its own; shape [items of the release + added items].
    """

    vectors: Mask
    items: Mask


@dataclass(frozen=True, eq=False)
class AllowedItems:
    """The items allowed in one view.

    Attributes:
        view: The view whose rows are meant.
        rows: Which rows are allowed; shape [rows].
        released: Which items of the release stand for an allowed row and are found by the release's vectors; None where
            every one does. Shape [items of the release].
        vectors: Which of the release's vectors have such an item, shape [vectors]; None where every one has.
        count: How many items are allowed.
    """

    view: CatalogueView
    rows: Mask
    released: Mask | None
    vectors: Mask | None
    count: int

    @cached_property
    def added(self) -> Mask:
        """Which added items are allowed, of those with a vector of their own; shape [added items]."""
        return self.rows[len(self.view.base) :] & self.view.added.own

    @cached_property
    def joined(self) -> Joined:
        """What is allowed where the added items' own vectors are numbered behind the release's."""
        view = self.view
        vectors = np.ones(view.added.graph.released, dtype=np.bool_) if self.vectors is None else self.vectors
        released = np.ones(len(view.base), dtype=np.bool_) if self.released is None else self.released
        return Joined(np.concatenate([vectors, self.added]), np.concatenate([released, self.added]))

    def without(self, rows: Rows, vectors: ItemVectors) -> AllowedItems:
        """Return the same without ``rows``."""
        gone = np.unique(rows[self.rows[rows]])
        if not len(gone):
            return self
        mask = self.rows.copy()
        mask[gone] = False
        of_release = self.view.released(gone)
        of_release = of_release[of_release >= 0]
        released, allowed = self.released, self.vectors
        if len(of_release):
            released = np.ones(len(self.view.base), dtype=np.bool_) if released is None else released.copy()
            allowed = np.ones(vectors.count, dtype=np.bool_) if allowed is None else allowed.copy()
            released[of_release] = False
            touched = np.unique(vectors.vector_of_item[of_release])
            allowed[touched] = vectors.have_items(touched, released)
        return AllowedItems(self.view, mask, released, allowed, self.count - len(gone))


class _Once:
    """Items that one thread finds out, while others that want the same wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._allowed: AllowedItems | None = None

    def of(self, evaluate: Callable[[], AllowedItems]) -> AllowedItems:
        """Return the items."""
        if self._allowed is not None:
            return self._allowed
        with self._lock:
            if self._allowed is None:
                self._allowed = evaluate()
            return self._allowed


class ItemFilter:
    """Answers filters with masks, and remembers them.

    Masks over items outlive changes of the catalogue; only items that were added since are looked at.

    Args:
        table: The release's attributes, one column each.
        vectors: Of the release.
        cached: How many filters are remembered; each costs up to five bytes an item.
    """

    def __init__(self, table: pa.Table, vectors: ItemVectors, cached: int = 128) -> None:
        self._table = table
        self._vectors = vectors
        self._cached = cached
        self._base_masks: LruCache[Filter, Mask] = LruCache(cached)
        self._added_masks: LruCache[Filter, tuple[ref[Shelf], Mask]] = LruCache(cached)
        # Of the latest view alone, by its version: views hold the added vectors, so old ones must not be kept alive.
        self._views: LruCache[int, LruCache[Filter | None, _Once]] = LruCache(1)
        self._lock = threading.Lock()

    def check(self, condition: Filter) -> None:
        """Raise InvalidRequest where the filter can't be answered over this catalogue."""
        check_filter(condition, self._table.schema)

    def allowed(self, view: CatalogueView, condition: Filter | None) -> AllowedItems:
        """Return the items of ``view`` that pass a checked filter; None passes all."""
        return self._once(view, condition).of(lambda: self._evaluate(view, condition))

    def _once(self, view: CatalogueView, condition: Filter | None) -> _Once:
        with self._lock:
            known = self._views.get(view.version)
            if known is None:
                known = LruCache(self._cached)
                self._views.put(view.version, known)
            once = known.get(condition)
            if once is None:
                once = _Once()
                known.put(condition, once)
            return once

    def _evaluate(self, view: CatalogueView, condition: Filter | None) -> AllowedItems:
        rows = view.alive if condition is None else view.alive & self._mask(view, condition)
        count = int(np.count_nonzero(rows))
        base, released = len(view.base), rows[: len(view.base)]
        if len(view.added):
            numbers, released = view.standing_in, released.copy()
            released[view.added.origin[numbers]] = rows[base + numbers]
        if released.all():
            return AllowedItems(view, rows, None, None, count)
        return AllowedItems(view, rows, released, self._vectors.with_items(released), count)

    def _mask(self, view: CatalogueView, condition: Filter) -> Mask:
        base = self._base_masks.get(condition)
        if base is None:
            base = evaluate(condition, self._table)
            self._base_masks.put(condition, base)
        return np.concatenate([base, self._added_mask(view.added, condition)]) if len(view.added) else base

    def _added_mask(self, added: AddedItems, condition: Filter) -> Mask:
        """Return which added items pass; looks at those alone that came since the last time."""
        of, mask = self._added_masks.get(condition) or (None, _NOTHING)
        if of is None or of() is not added.shelf:
            mask = _NOTHING
        if len(mask) < len(added):
            mask = np.concatenate([mask, evaluate(condition, added.table.slice(len(mask)))])
            self._added_masks.put(condition, (ref(added.shelf), mask))
        return mask[: len(added)]
