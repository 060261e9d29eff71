"""What was made of objects, remembered by which object it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from services.retrieval.lru_cache import LruCache

K = TypeVar("K")
V = TypeVar("V")


class IdentityCache(Generic[K, V]):
    """What was made of the last ``size`` objects: of masks, say, which have no hash and change no more.

    Safe for threads; two may make the same at the same time. Keeps the objects alive, so that none gets another's id.
    """

    def __init__(self, size: int) -> None:
        self._made: LruCache[int, tuple[K, V]] = LruCache(size)

    def of(self, key: K, make: Callable[[K], V]) -> V:
        """Return what ``make`` makes of ``key``, or made of it before."""
        known = self._made.get(id(key))
        if known is None:
            known = key, make(key)
            self._made.put(id(key), known)
        return known[1]
