"""Which items of a snapshot pass a filter."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final
from weakref import ref

import numpy as np
import pyarrow as pa

from common.arrays import BoolMask
from common.cache import LruCache
from common.filters import Filter
from services.retrieval.catalogue.delta import Delta, DeltaStorage
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.search.filter_evaluation import check_filter, evaluate

_NOTHING: Final[BoolMask] = np.empty(0, dtype=np.bool_)


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
        self._base_masks: LruCache[Filter, BoolMask] = LruCache(cached)
        self._added_masks: LruCache[Filter, tuple[ref[DeltaStorage], BoolMask]] = LruCache(cached)
        # Of the latest view alone, by its version: views hold the added vectors, so old ones must not be kept alive.
        self._views: LruCache[int, LruCache[Filter | None, _Once]] = LruCache(1)
        self._lock = threading.Lock()

    def check(self, condition: Filter) -> None:
        """Raise InvalidRequest where the filter can't be answered over this catalogue."""
        check_filter(condition, self._table.schema)

    def allowed(self, view: Snapshot, condition: Filter | None) -> AllowedItems:
        """Return the items of ``view`` that pass a checked filter; None passes all."""
        return self._once(view, condition).of(lambda: self._evaluate(view, condition))

    def _once(self, view: Snapshot, condition: Filter | None) -> _Once:
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

    def _evaluate(self, view: Snapshot, condition: Filter | None) -> AllowedItems:
        rows = view.alive if condition is None else view.alive & self._mask(view, condition)
        count = int(np.count_nonzero(rows))
        base, released = len(view.base), rows[: len(view.base)]
        if len(view.added):
            numbers, released = view.standing_in, released.copy()
            released[view.added.origin[numbers]] = rows[base + numbers]
        if released.all():
            return AllowedItems(view, rows, None, None, count)
        return AllowedItems(view, rows, released, self._vectors.with_items(released), count)

    def _mask(self, view: Snapshot, condition: Filter) -> BoolMask:
        base = self._base_masks.get(condition)
        if base is None:
            base = evaluate(condition, self._table)
            self._base_masks.put(condition, base)
        return np.concatenate([base, self._added_mask(view.added, condition)]) if len(view.added) else base

    def _added_mask(self, added: Delta, condition: Filter) -> BoolMask:
        """Return which added items pass; looks at those alone that came since the last time."""
        of, mask = self._added_masks.get(condition) or (None, _NOTHING)
        if of is None or of() is not added.shelf:
            mask = _NOTHING
        if len(mask) < len(added):
            mask = np.concatenate([mask, evaluate(condition, added.table.slice(len(mask)))])
            self._added_masks.put(condition, (ref(added.shelf), mask))
        return mask[: len(added)]
