"""The stream of changes: its order, its snapshot, and what happens when Redis is not there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from common.changes import redis_stream
from common.changes.redis_stream import START, ChangeStream, Entry, Position
from common.changes.stream_address import StreamAddress
from common.changes.stream_follower import StreamFollower
from common.errors import NotReady
from testing.redis_server import RedisServer


@pytest.fixture
def stream(redis: RedisServer) -> Iterator[ChangeStream]:
    """Return an empty stream."""
    stream = ChangeStream(StreamAddress.parse(redis.url("changes")))
    yield stream
    stream.close()


@pytest.fixture
def _nothing_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_stream, "_FRESH_MS", -1)  # not even what was appended this millisecond


def bodies(entries: Iterable[Entry]) -> list[bytes]:
    """Return what entries hold."""
    return [entry.body for entry in entries]


def joined(changes: Iterable[bytes]) -> list[bytes]:
    """Make two changes of many."""
    everything = b"+".join(changes)
    return [everything, b"end"]


def test_positions_follow_the_clock_and_the_number():
    """Positions compare as Redis orders them, and read and write its form."""
    assert Position.parse(b"9-10") > Position.parse(b"9-9") > Position.parse(b"8-11")
    assert str(Position.parse(b"12-3")) == "12-3"


def test_what_is_appended_is_read_in_order(stream: ChangeStream):
    """Every change is read once, in the order of the stream, also in more than one reading."""
    for number in range(40):
        stream.append(b"%d" % number, b"call-%d" % number)
    entries = list(stream.entries_after(START))
    assert bodies(entries) == [b"%d" % number for number in range(40)]
    assert entries[7].call_id == b"call-7"
    assert bodies(stream.entries_after(entries[36].position)) == [b"37", b"38", b"39"]
    assert stream.length() == 40


@pytest.mark.usefixtures("_nothing_is_fresh")
def test_a_snapshot_takes_the_place_of_what_is_in_it(stream: ChangeStream):
    """After compaction a new follower reads the snapshot and what came later; the stream has only that."""
    for number in range(20):
        stream.append(b"%d" % number, b"")
    assert stream.compact(joined)
    stream.append(b"new", b"")
    entries = list(stream.entries_after(START))
    assert bodies(entries) == [b"+".join(b"%d" % number for number in range(20)), b"end", b"new"]
    assert [entry.reaches_position for entry in entries] == [False, True, True]
    assert stream.length() == 1
    assert stream.compact(joined)
    assert bodies(stream.entries_after(START))[0].endswith(b"+19+end+new")


@pytest.mark.usefixtures("_nothing_is_fresh")
def test_who_was_away_while_the_stream_was_trimmed(stream: ChangeStream):
    """A follower whose place was trimmed away gets the snapshot; one that is past it gets what came later alone."""
    for number in range(5):
        stream.append(b"%d" % number, b"")
    entries = list(stream.entries_after(START))
    stream.compact(joined)
    stream.append(b"new", b"")
    assert bodies(stream.entries_after(entries[2].position)) == [b"0+1+2+3+4", b"end", b"new"]
    assert bodies(stream.entries_after(entries[4].position)) == [b"new"]


def test_the_last_minute_stays_in_the_stream(stream: ChangeStream):
    """What is younger than a minute is not compacted, so that followers a little behind go on without a snapshot."""
    stream.append(b"new", b"")
    assert not stream.compact(joined)
    assert stream.length() == 1


@pytest.mark.usefixtures("_nothing_is_fresh")
def test_one_server_at_a_time_compacts(stream: ChangeStream):
    """While a server compacts another does not, and reads what is there."""
    stream.append(b"0", b"")
    other: list[bool] = []

    def fold(changes: Iterable[bytes]) -> list[bytes]:
        other.append(stream.compact(joined))
        return joined(changes)

    assert stream.compact(fold)
    assert other == [False]
    assert bodies(stream.entries_after(START)) == [b"0", b"end"]


@pytest.mark.usefixtures("_nothing_is_fresh")
def test_a_snapshot_that_failed_changes_nothing(stream: ChangeStream, redis: RedisServer):
    """A server that dies while it compacts leaves the stream as it was, and what it wrote goes by itself."""

    def fold(_changes: Iterable[bytes]) -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("killed")

    stream.append(b"0", b"")
    with pytest.raises(RuntimeError, match="killed"):
        stream.compact(fold)
    assert bodies(stream.entries_after(START)) == [b"0"]
    assert [key for key in redis.client.scan_iter() if redis.client.ttl(key) < 0] == [b"changes"]
    assert stream.compact(joined)


def test_too_few_replicas_have_the_change(redis: RedisServer):
    """Where a change must be on Redis' replicas and is not, its caller is told so."""
    stream = ChangeStream(replace(StreamAddress.parse(redis.url("changes")), wait=1))
    with pytest.raises(NotReady, match="only 0 of the required 1 replicas of Redis have it; repeat it"):
        stream.append(b"0", b"")
    stream.close()


def test_without_redis():
    """Without Redis every call raises NotReady with the address."""
    stream = ChangeStream(StreamAddress.parse("redis://127.0.0.1:1/0?stream=shop"))
    for call in (
        stream.check_durability,
        stream.length,
        lambda: stream.append(b"", b""),
        lambda: list(stream.entries_after(START)),
    ):
        with pytest.raises(NotReady, match=r"shop at 127\.0\.0\.1:1"):
            call()
    stream.close()


def test_a_redis_that_may_forget_is_warned_of(redis: RedisServer, stream: ChangeStream):
    """A Redis that does not synchronise its file before each answer is served with a warning."""
    for policy, warnings in (("everysec", 1), ("always", 0)):
        redis.client.config_set("appendfsync", policy)
        with capture_logs() as logs:
            stream.check_durability()
        assert len(logs) == warnings


def test_the_tail_goes_on_when_redis_comes_back(redis: RedisServer, stream: ChangeStream):
    """A follower that lost Redis gets every entry once, in order, after it has come back, one that fails or not."""
    got: list[bytes] = []
    told: list[bool] = []
    change = threading.Condition()

    def take(entry: Entry) -> None:
        with change:
            got.append(entry.body)
            change.notify_all()
        if entry.body == b"bad":
            raise ValueError("bad")

    def tell(connected: bool) -> None:
        with change:
            told.append(connected)
            change.notify_all()

    def until(number: int) -> None:
        with change:
            assert change.wait_for(lambda: len(got) >= number, timeout=20)

    stream.append(b"0", b"")
    tail = StreamFollower(stream, START, take, tell)
    stream.append(b"bad", b"")
    stream.append(b"1", b"")
    until(3)
    redis.signal(signal.SIGKILL)
    with change:
        assert change.wait_for(lambda: told[-1] is False, timeout=20)
    redis.start()
    stream.append(b"2", b"")
    until(4)
    with change:
        assert change.wait_for(lambda: told[-1] is True, timeout=20)
    tail.stop()
    stream.append(b"3", b"")
    assert got == [b"0", b"bad", b"1", b"2"]
    assert told == [True, False, True]
