"""The address of profiles in Redis."""

from __future__ import annotations

import pytest

from services.gateway.profiles.redis_address import Durability, RedisAddress, is_redis


def test_an_address_has_defaults():
    """Prefix, checked durability and no replicas; options of Redis' own client stay in its URL."""
    address = RedisAddress.parse("redis://:secret@db:6380/2?socket_timeout=1")
    assert address == RedisAddress("redis://:secret@db:6380/2?socket_timeout=1")
    assert (address.prefix, address.durability, address.wait) == ("shortlist-profiles", Durability.ALWAYS, 0)
    assert str(address) == "shortlist-profiles at db:6380"


def test_options_are_read():
    """And do not reach Redis' client."""
    address = RedisAddress.parse("rediss://db/0?prefix=shop&durability=everysec&wait=2")
    assert address == RedisAddress("rediss://db/0", "shop", Durability.EVERYSEC, 2)


@pytest.mark.parametrize("text", ["http://db", "redis://db?wait=-1", "redis://db?durability=sometimes"])
def test_wrong_addresses_are_refused(text: str):
    """The message has what is wrong."""
    with pytest.raises(ValueError, match=r"http|wait=-1|durability=sometimes"):
        RedisAddress.parse(text)


def test_files_are_told_from_addresses():
    """By the scheme."""
    assert is_redis("redis://db/0")
    assert is_redis("unix:///run/redis.sock")
    assert not is_redis("/profiles/redis.sqlite3")
