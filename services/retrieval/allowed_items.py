"""Which items a request may be answered with: alive, passing the filter, not excluded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from common.filters import Filter
from services.retrieval.catalogue_view import CatalogueView
from services.retrieval.filters import check_filter, evaluate
from services.retrieval.item_vectors import ItemVectors
from services.retrieval.lru_cache import LruCache
from services.retrieval.vector_index import Mask, Rows


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


class ItemFilter:
    """Answers filters with masks, and remembers them.

    Masks over the release's items outlive changes of the catalogue; only those of added items are made anew.

    Args:
        table: The release's attributes, one column each.
        vectors: Of the release.
        cached: How many filters are remembered; each costs up to three bytes an item.
    """

    def __init__(self, table: pa.Table, vectors: ItemVectors, cached: int = 128) -> None:
        self._table = table
        self._vectors = vectors
        self._cached = cached
        self._base_masks: LruCache[Filter, Mask] = LruCache(cached)
        # Of the latest view alone: views hold the added vectors, so old ones must not be kept alive.
        self._latest: tuple[int, LruCache[Filter | None, AllowedItems]] = (-1, LruCache(cached))

    def check(self, condition: Filter) -> None:
        """Raise InvalidRequest where the filter can't be answered over this catalogue."""
        check_filter(condition, self._table.schema)

    def allowed(self, view: CatalogueView, condition: Filter | None) -> AllowedItems:
        """Return the items of ``view`` that pass a checked filter; None passes all."""
        cache = self._cache_of(view)
        allowed = cache.get(condition)
        if allowed is None:
            allowed = self._evaluate(view, condition)
            cache.put(condition, allowed)
        return allowed

    def _cache_of(self, view: CatalogueView) -> LruCache[Filter | None, AllowedItems]:
        version, cache = self._latest
        if version != view.version:
            cache = LruCache(self._cached)
            self._latest = (view.version, cache)
        return cache

    def _evaluate(self, view: CatalogueView, condition: Filter | None) -> AllowedItems:
        rows = view.alive if condition is None else view.alive & self._mask(view, condition)
        count = int(np.count_nonzero(rows))
        stand_in = view.stand_in
        released = rows[: len(view.base)] if stand_in is None else (stand_in >= 0) & rows[stand_in]
        if released.all():
            return AllowedItems(view, rows, None, None, count)
        return AllowedItems(view, rows, released, self._vectors.with_items(released), count)

    def _mask(self, view: CatalogueView, condition: Filter) -> Mask:
        base = self._base_masks.get(condition)
        if base is None:
            base = evaluate(condition, self._table)
            self._base_masks.put(condition, base)
        return np.concatenate([base, evaluate(condition, view.added.table)]) if len(view.added) else base
