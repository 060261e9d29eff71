"""Caches of bounded size, safe for threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")


class LruCache(Generic[K, V]):
    """Keeps the ``size`` most recently used values by key; safe for threads. A size of 0 keeps nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return the value of ``key`` and count it as used; None if it is not cached."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: K, value: V) -> None:
        """Cache ``value``; if the cache is full, drop the least recently used value."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._size:
                self._values.popitem(last=False)


class IdentityCache(Generic[T, V]):
    """Keeps the values made from the ``size`` most recently used objects, by identity.

    For objects without a hash that never change, such as masks. Safe for threads, of which two may make the same value
    at the same time. Keeps the objects alive, so that no other object gets the same id.
    """

    def __init__(self, size: int) -> None:
        self._made: LruCache[int, tuple[T, V]] = LruCache(size)

    def get_or_make(self, key: T, make: Callable[[T], V]) -> V:
        """Return the cached value of ``key``, or cache and return ``make(key)``."""
        cached = self._made.get(id(key))
        if cached is None:
            cached = key, make(key)
            self._made.put(id(key), cached)
        return cached[1]
