"""A bounded cache."""

from __future__ import annotations

from common.cache import LruCache


def test_what_was_not_used_for_longest_is_forgotten():
    """A full cache forgets the value that was neither read nor written for longest."""
    cache: LruCache[str, int] = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]


def test_a_value_can_be_replaced():
    """Writing a known key replaces its value and forgets no other."""
    cache: LruCache[str, int] = LruCache(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3)):
        cache.put(key, value)
    assert (cache.get("a"), cache.get("b"), len(cache)) == (3, 2, 2)


def test_a_cache_of_no_size_keeps_nothing():
    """A size of 0 switches the cache off."""
    cache: LruCache[str, int] = LruCache(0)
    cache.put("a", 1)
    assert cache.get("a") is None
