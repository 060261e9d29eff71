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
    """At most ``size`` values by key, safe for threads; a size of 0 keeps nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return the value of ``key`` and count it as used, None where it is not kept."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: K, value: V) -> None:
        """Keep ``value``; forgets the value that was not used for longest where the cache is full."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._size:
                self._values.popitem(last=False)


class IdentityCache(Generic[T, V]):
    """What was made of the last ``size`` objects: of masks, say, which have no hash and change no more.

    Safe for threads; two may make the same at the same time. Keeps the objects alive, so that none gets another's id.
    """

    def __init__(self, size: int) -> None:
        self._made: LruCache[int, tuple[T, V]] = LruCache(size)

    def of(self, key: T, make: Callable[[T], V]) -> V:
        """Return what ``make`` makes of ``key``, or made of it before."""
        known = self._made.get(id(key))
        if known is None:
            known = key, make(key)
            self._made.put(id(key), known)
        return known[1]
