"""Changes of the catalogue as a Redis stream: one order for every server that follows it, kept whole by a snapshot.

Three keys: the stream; a hash that names the snapshot and the last entry in it; and the snapshot itself, a list of the
bodies that the entries before come down to. The snapshot and the trimming of the stream change in one transaction, so
that whoever reads both in one transaction misses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import structlog
from redis import Redis, RedisError, WatchError
from redis.backoff import NoBackoff
from redis.retry import Retry

from common.errors import NotReady

DEFAULT_STREAM: Final = "shortlist-changes"


# How long a command may take. A server that waits for the end of the stream asks anew after half of it.
_TIMEOUT_S: Final = 2.0


_BLOCK_MS: Final = 1_000


# Entries read at a time: of 1,000 items with 384 dimensions each takes 1.6 MB.
_ENTRIES: Final = 16


# A snapshot leaves the last minute to the stream, so that followers a little behind go on without it.
_FRESH_MS: Final = 60_000


# How long a replaced snapshot stays for those that are reading it, and one that a crash left unfinished.
_KEPT_S: Final = 3_600


_log = structlog.get_logger()


class Position(NamedTuple):
    """Where an entry stands in a stream: Redis' clock in milliseconds, and a number within it."""

    ms: int
    number: int

    @classmethod
    def read(cls, text: bytes) -> Position:
        """Read Redis' form."""
        ms, _, number = text.partition(b"-")
        return cls(int(ms), int(number))

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


START: Final = Position(0, 0)


@dataclass(frozen=True)
class StreamAddress:
    """Where a stream is.

    Attributes:
        url: Redis' own URL.
        stream: The key of the stream.
        wait: How many of Redis' replicas must have an entry before it counts as stored.
    """

    url: str
    stream: str
    wait: int

    @classmethod
    def parse(cls, text: str) -> StreamAddress:
        """Read ``redis://[[user]:password@]host[:port][/database]?stream=NAME&wait=N``; raises ValueError."""
        parts = urlsplit(text)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"{parts.scheme or text!r} is no scheme of Redis; give redis://host:port/0?stream=NAME")
        options = dict(parse_qsl(parts.query))
        stream, wait = options.pop("stream", DEFAULT_STREAM), options.pop("wait", "0")
        if not wait.isdigit():
            raise ValueError(f"wait={wait}: give the number of Redis' replicas to wait for, from 0")
        return cls(parts._replace(query=urlencode(options)).geturl(), stream, int(wait))

    def __str__(self) -> str:
        parts = urlsplit(self.url)  # without user and password, for logs
        return f"{self.stream} at {parts.hostname or parts.path}:{parts.port or 6379}"


class Entry(NamedTuple):
    """One change.

    Attributes:
        position: Where it stands; in a snapshot, where the snapshot ends.
        body: The change.
        call: What the one who appended it called it; empty in a snapshot.
        whole: Whether a follower is at `position` once it has this entry; no part of a snapshot but the last is.
    """

    position: Position
    body: bytes
    call: bytes
    whole: bool = True


class _Snapshot(NamedTuple):
    upto: Position
    key: bytes
    parts: int


class ChangeStream:
    """One stream. Safe for threads.

    Args:
        address: Where it is.
    """

    def __init__(self, address: StreamAddress) -> None:
        self.address = address
        self._stream = address.stream
        self._pointer = f"{address.stream}:snapshot"
        # A retry by the client would append a change twice; whoever called may repeat it. RESP 2 is what lets the
        # client see that a pooled connection was closed meanwhile.
        # The client's types answer for its asynchronous twin too, hence Any.
        self._redis: Any = Redis.from_url(
            address.url,
            protocol=2,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )

    def check(self) -> None:
        """Raise NotReady where Redis is not there, and warn where it may lose what it acknowledged."""
        with self._asking("reached"):
            info = self._redis.info("persistence")
        always = info.get("aof_enabled") and self._fsync() == "always"
        if not always and not self.address.wait:
            _log.warning(
                "Redis may lose acknowledged changes in a crash: set appendonly yes and appendfsync always, or wait=N",
                stream=str(self.address),
            )

    def append(self, body: bytes, call: bytes) -> None:
        """Append a change; it is stored as well as Redis stores when this returns.

        Raises:
            NotReady: Redis did not say that it is stored. It may be nevertheless.
        """
        with self._asking("stored; it may have been made or not, so repeat it"):
            commands = self._redis.pipeline(transaction=False)  # WAIT is about writes of its own connection
            commands.xadd(self._stream, {"body": body, "call": call})
            if self.address.wait:
                commands.execute_command("WAIT", self.address.wait, _BLOCK_MS)
            answers = commands.execute()
        if self.address.wait and answers[1] < self.address.wait:
            raise NotReady(
                f"the change is in {self.address}, but {answers[1]} of Redis' replicas have it, and not "
                f"{self.address.wait}; repeat it"
            )

    def read(self, after: Position) -> Iterator[Entry]:
        """Read the changes after a position, in order, up to the end as it is then.

        Where the stream was trimmed past ``after``, the snapshot's come first. They say what became of every item
        that was ever changed, so they hold on top of any earlier state.

        Raises:
            NotReady: Redis is not there.
        """
        while True:
            snapshot, entries = self._look(after)
            if snapshot.upto > after:
                yield from self._read_snapshot(snapshot)
                after = snapshot.upto
                continue
            if not entries:
                return
            yield from entries
            after = entries[-1].position

    def wait(self, after: Position) -> None:
        """Wait until something stands after a position, a second at most; raises NotReady where Redis is not there."""
        with self._asking("followed"):
            self._redis.xread({self._stream: str(after)}, count=1, block=_BLOCK_MS)

    def length(self) -> int:
        """Return how many entries the stream has beside its snapshot."""
        with self._asking("measured"):
            length = self._redis.xlen(self._stream)
        return int(length)

    def compact(self, fold: Callable[[Iterable[bytes]], Iterable[bytes]]) -> bool:
        """Put the stream but for its last minute into a new snapshot; returns whether it did.

        One server at a time does, whichever comes first.

        Args:
            fold: Makes few changes of many that come down to the same.
        """
        with self._asking("compacted"):
            if not self._redis.set(f"{self._pointer}:lock", b"1", nx=True, ex=_KEPT_S):
                return False
            try:
                return self._compact(fold)
            finally:
                self._redis.delete(f"{self._pointer}:lock")

    def close(self) -> None:
        """Let go of every connection."""
        self._redis.close()

    def _compact(self, fold: Callable[[Iterable[bytes]], Iterable[bytes]]) -> bool:
        newest = self._redis.xrevrange(self._stream, count=1)
        if not newest:
            return False
        old, _ = self._look(START)
        oldest_kept = Position.read(newest[0][0]).ms - _FRESH_MS
        upto = old.upto
        key = f"{self._pointer}:{oldest_kept}"

        def bodies() -> Iterator[bytes]:
            nonlocal upto
            for entry in self.read(START):
                if entry.position.ms >= oldest_kept:
                    return
                upto = entry.position
                yield entry.body

        parts = 0
        self._redis.delete(key)
        for body in fold(bodies()):
            self._redis.rpush(key, body)
            self._redis.expire(key, _KEPT_S)
            parts += 1
        return upto > old.upto and self._replace(old, _Snapshot(upto, key.encode(), parts))

    def _replace(self, old: _Snapshot, new: _Snapshot) -> bool:
        with self._redis.pipeline() as commands:
            commands.watch(self._pointer)
            if _read_pointer(commands.hgetall(self._pointer)) != old:
                return False
            commands.multi()
            commands.hset(self._pointer, mapping={"upto": str(new.upto), "key": new.key, "parts": new.parts})
            commands.persist(new.key)
            if old.key:
                commands.expire(old.key, _KEPT_S)
            commands.xtrim(self._stream, minid=f"{new.upto.ms}-{new.upto.number + 1}", approximate=False)
            try:
                commands.execute()
            except WatchError:  # another server was faster
                return False
        return True

    def _look(self, after: Position) -> tuple[_Snapshot, list[Entry]]:
        with self._asking("read"):
            commands = self._redis.pipeline(transaction=True)
            commands.hgetall(self._pointer)
            commands.xrange(self._stream, min=f"({after}", count=_ENTRIES)
            pointer, found = commands.execute()
        entries = [Entry(Position.read(at), fields.get(b"body", b""), fields.get(b"call", b"")) for at, fields in found]
        return _read_pointer(pointer), entries

    def _read_snapshot(self, snapshot: _Snapshot) -> Iterator[Entry]:
        for part in range(snapshot.parts):
            with self._asking("read"):
                body = self._redis.lindex(snapshot.key, part)
            if body is None:
                raise NotReady(f"the snapshot of {self.address} was replaced while it was read; it is read again")
            yield Entry(snapshot.upto, body, b"", whole=part == snapshot.parts - 1)

    def _fsync(self) -> str:
        try:
            answer = self._redis.config_get("appendfsync")
        except RedisError:  # hosted ones refuse to tell
            return "unknown"
        return str(answer.get("appendfsync"))

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            raise NotReady(f"changes can't be {what}: {self.address}: {error}") from error


def _read_pointer(pointer: dict[bytes, bytes]) -> _Snapshot:
    if not pointer:
        return _Snapshot(START, b"", 0)
    return _Snapshot(Position.read(pointer[b"upto"]), pointer[b"key"], int(pointer[b"parts"]))
