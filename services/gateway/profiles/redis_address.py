"""The address of profiles in Redis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

SCHEMES: Final = ("redis", "rediss", "unix")
DEFAULT_PREFIX: Final = "shortlist-profiles"


class Durability(StrEnum):
    """What an acknowledged event survives."""

    ALWAYS = "always"
    """A power cut: Redis syncs its file before it answers. Checked at the start."""
    EVERYSEC = "everysec"
    """A kill of Redis; a power cut loses up to a second. Checked at the start."""
    UNCHECKED = "unchecked"
    """Whatever Redis is configured to; nothing is checked."""


@dataclass(frozen=True)
class RedisAddress:
    """Where the profiles are.

    Attributes:
        url: The URL of Redis.
        prefix: What their keys begin with.
        durability: What an acknowledged event has to survive.
        wait: How many replicas of Redis must have an event before it is acknowledged.
    """

    url: str
    prefix: str = DEFAULT_PREFIX
    durability: Durability = Durability.ALWAYS
    wait: int = 0

    @classmethod
    def parse(cls, text: str) -> RedisAddress:
        """Read ``redis://[[user]:password@]host[:port][/database]?prefix=NAME&durability=always&wait=N``.

        Raises:
            ValueError: It is no such address; the message says what is wrong.
        """
        parts = urlsplit(text)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"{parts.scheme!r} is not a scheme of Redis; give redis://host:port/0")
        options = dict(parse_qsl(parts.query))
        prefix, wait = options.pop("prefix", DEFAULT_PREFIX), options.pop("wait", "0")
        durability = options.pop("durability", Durability.ALWAYS)
        if durability not in set(Durability):
            raise ValueError(f"durability={durability}: it is one of {', '.join(Durability)}")
        if not wait.isdigit():
            raise ValueError(f"wait={wait}: give the number of Redis replicas to wait for, from 0")
        url = parts._replace(query=urlencode(options)).geturl()
        return cls(url, prefix, Durability(durability), int(wait))

    def __str__(self) -> str:
        parts = urlsplit(self.url)  # without user and password, for logs
        return f"{self.prefix} at {parts.hostname or parts.path}:{parts.port or 6379}"


def is_redis(profiles: str) -> bool:
    """Return whether a setting names profiles in Redis and not a file."""
    return profiles.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))
