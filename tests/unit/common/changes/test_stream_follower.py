"""The follower goes on whatever becomes of Redis."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.changes.redis_stream import START, ChangeStream
from common.changes.stream_address import StreamAddress
from common.changes.stream_follower import StreamFollower
from common.errors import NotReady
from testing.redis_server import RedisServer


@pytest.fixture
def stream(redis: RedisServer) -> Iterator[ChangeStream]:
    """Return an empty stream."""
    stream = ChangeStream(StreamAddress.parse(redis.url("followed")))
    yield stream
    stream.close()


@pytest.fixture
def connections() -> queue.Queue[bool]:
    """Return where a follower says whether it can follow."""
    return queue.Queue()


@pytest.fixture
def received(stream: ChangeStream, connections: queue.Queue[bool]) -> Iterator[queue.Queue[bytes]]:
    """Return where the entries of a follower arrive; a loss arrives as `lost`."""
    arrived: queue.Queue[bytes] = queue.Queue()
    follower = StreamFollower(
        stream, START, lambda entry: arrived.put(entry.body), connections.put, lambda _: arrived.put(b"lost")
    )
    assert connections.get(timeout=30)
    yield arrived
    follower.stop()


def test_a_damaged_snapshot_is_said_and_healed(
    redis: RedisServer, stream: ChangeStream, received: queue.Queue[bytes], connections: queue.Queue[bool]
):
    """While the pointer to the snapshot cannot be read, the follower says so; once it can, entries arrive again."""
    stream.append(b"a", b"1")
    assert received.get(timeout=30) == b"a"
    redis.client.hset("followed:snapshot", "upto", "nonsense")
    stream.append(b"b", b"2")
    assert connections.get(timeout=30) is False
    redis.client.delete("followed:snapshot")
    assert received.get(timeout=30) == b"b"
    assert connections.get(timeout=30) is True


def test_a_stream_that_lost_entries_is_read_again(
    redis: RedisServer, stream: ChangeStream, received: queue.Queue[bytes]
):
    """If Redis comes back with positions below the follower's, that is logged, and new entries arrive."""
    redis.client.xadd("followed", {"body": b"late", "call": b""}, id="9999999999999-0")
    assert received.get(timeout=30) == b"late"
    with capture_logs() as logs:
        redis.client.delete("followed")
        stream.append(b"new", b"1")
        assert received.get(timeout=30) == b"lost"
        assert received.get(timeout=30) == b"new"
    assert [line["followed_until"] for line in logs if line["log_level"] == "error"] == ["9999999999999-0"]


def test_a_loss_is_noticed_although_entries_follow_at_once(
    redis: RedisServer, stream: ChangeStream, received: queue.Queue[bytes]
):
    """If the stream is lost and written again at once, at later positions, the follower notices the loss first."""
    stream.append(b"a", b"1")
    assert received.get(timeout=30) == b"a"
    with redis.client.pipeline() as commands:
        commands.delete("followed")
        commands.xadd("followed", {"body": b"b", "call": b""})
        commands.execute()
    assert received.get(timeout=30) == b"lost"
    assert received.get(timeout=30) == b"b"


def test_a_read_only_primary_is_left(redis: RedisServer, stream: ChangeStream):
    """A refused write drops the connections and does not quote the change; the next write goes through."""
    redis.client.replicaof("127.0.0.1", "9")
    with pytest.raises(NotReady, match="read-only replica; connecting again") as error:
        stream.append(b"secret" * 1_000, b"1")
    assert "secret" not in str(error.value)
    redis.client.replicaof("NO", "ONE")
    stream.append(b"a", b"2")
    assert [entry.body for entry in stream.entries_after(START)] == [b"a"]


class ScriptedStream:
    """A stream whose waits end as a test says."""

    address = StreamAddress.parse("redis://127.0.0.1")

    def __init__(self) -> None:
        self.ends: queue.Queue[Exception | bool] = queue.Queue()

    def wait_for_entry(self, _: Any) -> bool:
        """Return or raise the next end."""
        end = self.ends.get(timeout=30)
        if isinstance(end, Exception):
            raise end
        return end

    def entries_after(self, _: Any) -> tuple[()]:
        """Return nothing."""
        return ()


def test_only_a_stream_that_is_read_to_its_end_is_up_to_date(connections: queue.Queue[bool]):
    """While Redis cannot be reached, the end of the stream was reached when it was last read."""
    stream: Any = ScriptedStream()
    follower = StreamFollower(stream, START, lambda _: None, connections.put)
    began_s = follower.at_end_s
    seen = [connections.get(timeout=30)]
    stream.ends.put(NotReady("no Redis"))
    seen.append(connections.get(timeout=30))
    lost_s = follower.at_end_s
    stream.ends.put(True)
    seen.append(connections.get(timeout=30))
    assert (seen, lost_s) == ([True, False, True], began_s)
    assert follower.at_end_s > lost_s
    follower._stopping.set()
    stream.ends.put(True)
    follower.stop()
