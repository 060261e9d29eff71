"""Evaluates filters on a snapshot, and caches their masks."""

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

_EMPTY: Final[BoolMask] = np.empty(0, dtype=np.bool_)


class _EvaluatedOnce:
    """Items that one thread evaluates, while others that want the same wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._allowed: AllowedItems | None = None

    def get(self, evaluate: Callable[[], AllowedItems]) -> AllowedItems:
        """Return the items."""
        if self._allowed is not None:
            return self._allowed
        with self._lock:
            if self._allowed is None:
                self._allowed = evaluate()
            return self._allowed


class ItemFilter:
    """Turns filters into masks, and caches them.

    Masks over the release's items stay valid when the catalogue changes; only rows added since are evaluated then.

    Args:
        table: The release's attributes, one column each.
        vectors: Of the release.
        cached: How many filters are cached; each costs up to five bytes per item.

    Attributes:
        table: The release's attributes.
    """

    def __init__(self, table: pa.Table, vectors: ItemVectors, cached: int = 128) -> None:
        self.table = table
        self._vectors = vectors
        self._cached = cached
        self._base_masks: LruCache[Filter, BoolMask] = LruCache(cached)
        self._delta_masks: LruCache[Filter, tuple[ref[DeltaStorage], BoolMask]] = LruCache(cached)
        # Of the latest snapshot only, by its version: snapshots hold the delta's vectors, so old ones must not live on.
        self._by_snapshot: LruCache[int, LruCache[Filter | None, _EvaluatedOnce]] = LruCache(1)
        self._lock = threading.Lock()

    def check(self, condition: Filter) -> None:
        """Raise InvalidRequest if the filter can't be evaluated on this catalogue."""
        check_filter(condition, self.table.schema)

    def allowed(self, snapshot: Snapshot, condition: Filter | None) -> AllowedItems:
        """Return the items of a snapshot that pass a checked filter; None passes all."""
        return self._entry(snapshot, condition).get(lambda: self._evaluate(snapshot, condition))

    def _entry(self, snapshot: Snapshot, condition: Filter | None) -> _EvaluatedOnce:
        with self._lock:
            by_filter = self._by_snapshot.get(snapshot.version)
            if by_filter is None:
                by_filter = LruCache(self._cached)
                self._by_snapshot.put(snapshot.version, by_filter)
            entry = by_filter.get(condition)
            if entry is None:
                entry = _EvaluatedOnce()
                by_filter.put(condition, entry)
            return entry

    def _evaluate(self, snapshot: Snapshot, condition: Filter | None) -> AllowedItems:
        rows = snapshot.is_live if condition is None else snapshot.is_live & self._mask(snapshot, condition)
        count = int(np.count_nonzero(rows))
        base, release_items = len(snapshot.base), rows[: len(snapshot.base)]
        if len(snapshot.delta):
            delta_rows, release_items = snapshot.delta_rows_without_vector, release_items.copy()
            release_items[snapshot.delta.origin[delta_rows]] = rows[base + delta_rows]
        vectors = self._vectors
        if release_items.all():
            return AllowedItems(snapshot, rows, None, None, vectors.count, count)
        release_vectors = vectors.vectors_with(release_items)
        return AllowedItems(snapshot, rows, release_items, release_vectors, vectors.count, count)

    def _mask(self, snapshot: Snapshot, condition: Filter) -> BoolMask:
        base = self._base_masks.get(condition)
        if base is None:
            base = evaluate(condition, self.table)
            self._base_masks.put(condition, base)
        delta = snapshot.delta
        return np.concatenate([base, self._delta_mask(delta, condition)]) if len(delta) else base

    def _delta_mask(self, delta: Delta, condition: Filter) -> BoolMask:
        """Return which rows of the delta pass; evaluates only those that came since the last time."""
        storage, mask = self._delta_masks.get(condition) or (None, _EMPTY)
        if storage is None or storage() is not delta.storage:
            mask = _EMPTY
        if len(mask) < len(delta):
            mask = np.concatenate([mask, evaluate(condition, delta.table.slice(len(mask)))])
            self._delta_masks.put(condition, (ref(delta.storage), mask))
        return mask[: len(delta)]
