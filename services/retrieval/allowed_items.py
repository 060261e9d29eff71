"""Which items a request may be answered with: alive, passing the filter, not excluded."""

from __future__ import annotations

from dataclasses import dataclass

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
        vectors: Which of the release's vectors have an allowed item, shape [vectors]; None where every item of the
            release is allowed.
        count: How many items are allowed.
    """

    view: CatalogueView
    rows: Mask
    vectors: Mask | None
    count: int

    @property
    def base_rows(self) -> Mask | None:
        """Which of the release's items are allowed; None where all are."""
        return None if self.vectors is None else self.rows[: len(self.view.base)]

    def without(self, rows: Rows, vectors: ItemVectors) -> AllowedItems:
        """Return the same without ``rows``."""
        gone = np.unique(rows[self.rows[rows]])
        if not len(gone):
            return self
        mask = self.rows.copy()
        mask[gone] = False
        base = gone[gone < len(self.view.base)]
        allowed = self.vectors
        if len(base):
            allowed = np.ones(vectors.count, dtype=np.bool_) if allowed is None else allowed.copy()
            touched = np.unique(vectors.vector_of_item[base])
            allowed[touched] = vectors.have_items(touched, mask)
        return AllowedItems(self.view, mask, allowed, self.count - len(gone))


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
        base = rows[: len(view.base)]
        vectors = None
        if not base.all():
            vectors = np.zeros(self._vectors.count, dtype=np.bool_)
            vectors[self._vectors.vector_of_item[base]] = True
        return AllowedItems(view, rows, vectors, int(np.count_nonzero(rows)))

    def _mask(self, view: CatalogueView, condition: Filter) -> Mask:
        base = self._base_masks.get(condition)
        if base is None:
            base = evaluate(condition, self._table)
            self._base_masks.put(condition, base)
        return np.concatenate([base, evaluate(condition, view.added.table)]) if len(view.added) else base
