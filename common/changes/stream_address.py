"""The address of a change stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

DEFAULT_STREAM: Final = "shortlist-changes"


@dataclass(frozen=True)
class StreamAddress:
    """Where a change stream is.

    Attributes:
        url: The URL of Redis.
        stream: The key of the stream.
        wait: How many Redis replicas must have an entry before it counts as stored.
    """

    url: str
    stream: str
    wait: int

    @classmethod
    def parse(cls, text: str) -> StreamAddress:
        """Read ``redis://[[user]:password@]host[:port][/database]?stream=NAME&wait=N``; raises ValueError."""
        parts = urlsplit(text)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"{parts.scheme or text!r} is not a scheme of Redis; give redis://host:port/0?stream=NAME")
        options = dict(parse_qsl(parts.query))
        stream, wait = options.pop("stream", DEFAULT_STREAM), options.pop("wait", "0")
        if not wait.isdigit():
            raise ValueError(f"wait={wait}: give the number of Redis replicas to wait for, from 0")
        return cls(parts._replace(query=urlencode(options)).geturl(), stream, int(wait))

    def __str__(self) -> str:
        parts = urlsplit(self.url)  # without user and password, for logs
        return f"{self.stream} at {parts.hostname or parts.path}:{parts.port or 6379}"
