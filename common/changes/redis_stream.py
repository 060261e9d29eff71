"""Catalogue changes as a Redis stream: one order for every server that follows it, with a snapshot of older changes.

There are three keys: the stream; a hash that names the snapshot and its last entry; and the snapshot, a list of changes
with the same outcome as the entries before. The snapshot is replaced and the stream trimmed in one transaction, so a
reader that reads both in one transaction misses nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import structlog
from redis import Redis, RedisError, WatchError
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError
from redis.retry import Retry

from common.changes.stream_address import StreamAddress
from common.errors import NotReady

# Timeout of a command. A server that waits at the end of the stream asks again after half of it.
_TIMEOUT_S: Final = 2.0
_BLOCK_MS: Final = 1_000

# Entries read at a time: one with 1,000 items of 384 dimensions has 1.6 MB.
_ENTRIES: Final = 16

# A snapshot leaves the last minute in the stream, so that a follower slightly behind does not need the snapshot.
_FRESH_MS: Final = 60_000

# How long a replaced snapshot is kept for its readers, and one that a crash left unfinished.
_KEPT_S: Final = 3_600
_log = structlog.get_logger()


class PositionLost(NotReady):
    """The stream was lost, or restored from an older copy, and does not lead to a position any more."""


class Position(NamedTuple):
    """The position of an entry in a stream: Redis' clock in milliseconds, and a number within it."""

    ms: int
    number: int

    @classmethod
    def parse(cls, text: bytes) -> Position:
        """Parse Redis' notation."""
        ms, _, number = text.partition(b"-")
        return cls(int(ms), int(number))

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


START: Final = Position(0, 0)
# Where a restored snapshot ends: before all entries.
_RESTORED: Final = Position(0, 1)


class Entry(NamedTuple):
    """One change.

    Attributes:
        position: Its position; in a snapshot, the position where the snapshot ends.
        body: The change.
        call_id: The id that the appending server gave it; empty in a snapshot.
        reaches_position: Whether a follower is at `position` once it has this entry; in a snapshot, only the last is.
    """

    position: Position
    body: bytes
    call_id: bytes
    reaches_position: bool = True


class _Snapshot(NamedTuple):
    end: Position
    key: bytes
    parts: int


class ChangeStream:
    """A stream of changes; safe for threads.

    Args:
        address: The address of the stream.
    """

    def __init__(self, address: StreamAddress) -> None:
        self.address = address
        self._stream = address.stream
        self._pointer = f"{address.stream}:snapshot"
        # No retry by the client, which could append a change twice; the caller may repeat the call. Only with RESP 2
        # does the client notice that a pooled connection was closed.
        # Any: the client's types also cover its asynchronous variant.
        self._redis: Any = Redis.from_url(
            address.url,
            protocol=2,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )

    def check_durability(self) -> None:
        """Log a warning if Redis may lose acknowledged changes; raises NotReady if Redis cannot be reached."""
        with self._translate_errors("reached"):
            info = self._redis.info("persistence")
        always = info.get("aof_enabled") and self._fsync_policy() == "always"
        if not always and not self.address.wait:
            _log.warning(
                "Redis may lose acknowledged changes in a crash: set appendonly yes and appendfsync always, or wait=N",
                stream=str(self.address),
            )

    def append(self, body: bytes, call_id: bytes) -> None:
        """Append a change; on return it is as durable as Redis is configured to make it.

        Raises:
            NotReady: Redis did not acknowledge the change. It may be stored nevertheless.
        """
        with self._translate_errors("acknowledged; it may be stored or not, so repeat it"):
            commands = self._redis.pipeline(transaction=False)  # WAIT is about writes of its own connection
            commands.xadd(self._stream, {"body": body, "call": call_id})
            if self.address.wait:
                commands.execute_command("WAIT", self.address.wait, _BLOCK_MS)
            answers = commands.execute()
        if self.address.wait and answers[1] < self.address.wait:
            raise NotReady(
                f"the change is in {self.address}, but only {answers[1]} of the required {self.address.wait} replicas "
                "of Redis have it; repeat it"
            )

    def entries_after(self, after: Position) -> Iterator[Entry]:
        """Yield the changes after a position, in order, up to the current end.

        If the stream was trimmed past ``after``, the changes of the snapshot come first. They have the final state of
        every item that was ever changed, so they can be applied to any earlier state.

        Raises:
            NotReady: Redis cannot be reached.
            PositionLost: The stream has neither the entry at ``after`` nor a snapshot that replaced it.
        """
        while True:
            snapshot, entries = self._read_next(after)
            if snapshot.end > after:
                yield from self._read_snapshot(snapshot)
                after = snapshot.end
                continue
            if not entries:
                return
            yield from entries
            after = entries[-1].position

    def wait_for_entry(self, after: Position) -> bool:
        """Wait for an entry after a position, at most a second; returns whether there is one.

        Raises:
            NotReady: Redis cannot be reached.
        """
        with self._translate_errors("followed"):
            return bool(self._redis.xread({self._stream: str(after)}, count=1, block=_BLOCK_MS))

    def restore(self, bodies: Iterable[bytes], lost: Position) -> bool:
        """Store changes as the snapshot before all entries, if the stream has lost everything up to a position.

        Returns:
            Whether the stream has them, from this server or from another one that was faster.
        """
        key = f"{self._pointer}:restored:{lost}:{uuid.uuid4().hex}"
        with self._translate_errors("restored"):
            parts = 0
            for parts, body in enumerate(bodies, 1):  # noqa: B007 - used after the loop
                self._redis.rpush(key, body)
                self._redis.expire(key, _KEPT_S)
            oldest = self._redis.xrange(self._stream, count=1)
            if oldest and Position.parse(oldest[0][0]) <= lost:
                return False  # not all is lost, and the snapshot would be older than what is left
            return self._replace(_Snapshot(START, b"", 0), _Snapshot(_RESTORED, key.encode(), parts)) or (
                _read_pointer(self._redis.hgetall(self._pointer)).end == _RESTORED
            )

    def length(self) -> int:
        """Return how many entries the stream has, without its snapshot."""
        with self._translate_errors("measured"):
            length = self._redis.xlen(self._stream)
        return int(length)

    def compact(self, fold: Callable[[Iterable[bytes]], Iterable[bytes]]) -> bool:
        """Replace the snapshot by one with all of the stream except its last minute; returns whether it did.

        Only one server at a time compacts, the first to try.

        Args:
            fold: Reduces changes to fewer ones with the same outcome.
        """
        with self._translate_errors("compacted"):
            if not self._redis.set(f"{self._pointer}:lock", b"1", nx=True, ex=_KEPT_S):
                return False
            try:
                return self._compact(fold)
            finally:
                self._redis.delete(f"{self._pointer}:lock")

    def close(self) -> None:
        """Close every connection."""
        self._redis.close()

    def _compact(self, fold: Callable[[Iterable[bytes]], Iterable[bytes]]) -> bool:
        newest = self._redis.xrevrange(self._stream, count=1)
        if not newest:
            return False
        old, _ = self._read_next(START)
        oldest_kept_ms = Position.parse(newest[0][0]).ms - _FRESH_MS
        end = old.end
        key = f"{self._pointer}:{oldest_kept_ms}"

        def bodies() -> Iterator[bytes]:
            nonlocal end
            for entry in self.entries_after(START):
                if entry.position.ms >= oldest_kept_ms:
                    return
                end = entry.position
                yield entry.body

        parts = 0
        self._redis.delete(key)
        for body in fold(bodies()):
            self._redis.rpush(key, body)
            self._redis.expire(key, _KEPT_S)
            parts += 1
        return end > old.end and self._replace(old, _Snapshot(end, key.encode(), parts))

    def _replace(self, old: _Snapshot, new: _Snapshot) -> bool:
        with self._redis.pipeline() as commands:
            commands.watch(self._pointer)
            if _read_pointer(commands.hgetall(self._pointer)) != old:
                return False
            commands.multi()
            commands.hset(self._pointer, mapping={"upto": str(new.end), "key": new.key, "parts": new.parts})
            commands.persist(new.key)
            if old.key:
                commands.expire(old.key, _KEPT_S)
            commands.xtrim(self._stream, minid=f"{new.end.ms}-{new.end.number + 1}", approximate=False)
            try:
                commands.execute()
            except WatchError:  # another server was faster
                return False
        return True

    def _read_next(self, after: Position) -> tuple[_Snapshot, list[Entry]]:
        with self._translate_errors("read"):
            commands = self._redis.pipeline(transaction=True)
            commands.hgetall(self._pointer)
            commands.xrange(self._stream, min=str(after), max=str(after))
            commands.xrange(self._stream, min=f"({after}", count=_ENTRIES)
            pointer, known, rows = commands.execute()
        if after != START and not known and _read_pointer(pointer).end < after:
            raise PositionLost(f"{self.address} has lost entries up to {after}")
        entries = [Entry(Position.parse(at), fields.get(b"body", b""), fields.get(b"call", b"")) for at, fields in rows]
        return _read_pointer(pointer), entries

    def _read_snapshot(self, snapshot: _Snapshot) -> Iterator[Entry]:
        for part in range(snapshot.parts):
            with self._translate_errors("read"):
                body = self._redis.lindex(snapshot.key, part)
            if body is None:
                raise NotReady(f"the snapshot of {self.address} was replaced while it was read; read it again")
            yield Entry(snapshot.end, body, b"", reaches_position=part == snapshot.parts - 1)

    def _fsync_policy(self) -> str:
        try:
            answer = self._redis.config_get("appendfsync")
        except RedisError:  # hosted Redis may refuse CONFIG GET
            return "unknown"
        return str(answer.get("appendfsync"))

    @contextmanager
    def _translate_errors(self, failed_action: str) -> Iterator[None]:
        try:
            yield
        except ReadOnlyError as error:  # after a fail-over these connections lead to a replica
            self._redis.connection_pool.disconnect()
            reason = "it has become a read-only replica; connecting again"
            raise NotReady(f"changes cannot be {failed_action}: {self.address}: {reason}") from error
        except RedisError as error:
            reason = str(error).rpartition(" caused error: ")[2]  # what is before quotes the command with its body
            raise NotReady(f"changes cannot be {failed_action}: {self.address}: {reason}") from error


def _read_pointer(pointer: dict[bytes, bytes]) -> _Snapshot:
    if not pointer:
        return _Snapshot(START, b"", 0)
    return _Snapshot(Position.parse(pointer[b"upto"]), pointer[b"key"], int(pointer[b"parts"]))
