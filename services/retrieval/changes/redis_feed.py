"""Changes carried by a Redis stream, for servers that answer as one."""

from __future__ import annotations

import struct
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog

from common.changes.redis_stream import START, ChangeStream, Entry, Position, StreamAddress
from common.changes.stream_follower import StreamFollower
from common.errors import NotReady
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.change import Change
from services.retrieval.changes.change_feed import ChangeListener
from services.retrieval.changes.compaction import Compaction

# How long a stored change may take until it is seen here.
_SHOWN_S: Final = 5.0


# The stream is compacted once so many changes lie in it; it is looked at so often.
_MANY_CHANGES: Final = 10_000


_LOOK_AFTER: Final = 1_000


_log = structlog.get_logger()


@dataclass
class _Subscriber:
    """A follower, and the last entry it has."""

    follower: ChangeListener
    position: Position


class RedisFeed:
    """Appends changes to a stream and shows what comes along it, its own changes too; implements `ChangeFeed`.

    The order is the stream's, for every server alike. Nothing is kept on this machine: a server that starts reads
    the stream from its snapshot on, one that lost Redis goes on after the last entry that it saw.

    Args:
        address: Where the stream is.
        on_connection: Told whether the stream can be followed, when that changes.

    Raises:
        NotReady: Redis is not there: nobody can say what the catalogue is.
    """

    def __init__(self, address: StreamAddress, on_connection: Callable[[bool], None] = lambda _: None) -> None:
        self._stream = ChangeStream(address)
        self._on_connection = on_connection
        self._lock = threading.Lock()
        self._seats: list[_Subscriber] = []
        self._waiting: dict[bytes, tuple[ChangeListener, Future[ChangeCounts]]] = {}
        self._tail: StreamFollower | None = None
        self._compactor = ThreadPoolExecutor(1, thread_name_prefix="compact")
        self._unlooked = 0
        self._stream.check()
        self._look_at_length()

    def attach(self, follower: ChangeListener) -> int:
        """Carry every change to ``follower``; see `ChangeFeed.attach`."""
        seat = _Subscriber(follower, START)
        count = self._carry(seat)  # the bulk without holding up the others
        with self._lock:
            count += self._carry(seat)
            self._seats.append(seat)
            if self._tail is None:
                self._tail = StreamFollower(self._stream, seat.position, self._take, self._on_connection)
        return count

    def detach(self, follower: ChangeListener) -> None:
        """Carry nothing more to ``follower``."""
        with self._lock:
            self._seats = [seat for seat in self._seats if seat.follower is not follower]

    def commit(self, change: Change, asker: ChangeListener) -> ChangeCounts:
        """Append a change, and wait until it came along the stream; see `ChangeFeed.commit`."""
        if self._tail is None or not self._tail.connected:
            raise NotReady(f"changes can't be stored: {self._stream.address} can't be reached; repeat the call later")
        call, shown = uuid.uuid4().bytes, Future[ChangeCounts]()
        self._waiting[call] = asker, shown
        try:
            self._stream.append(change.to_bytes(), call)
            return shown.result(_SHOWN_S)
        except TimeoutError as error:
            raise NotReady("the change is stored and will be seen, but not yet here") from error
        finally:
            del self._waiting[call]

    def close(self) -> None:
        """Let go of threads and connections."""
        if self._tail is not None:
            self._tail.stop()
        self._compactor.shutdown(cancel_futures=True)
        self._stream.close()

    def _carry(self, seat: _Subscriber) -> int:
        count = 0
        for entry in self._stream.read(seat.position):
            change = _change(entry.body)
            if change is not None:
                seat.follower.apply(change)
                count += 1
            if entry.whole:
                seat.position = entry.position
        return count

    def _take(self, entry: Entry) -> None:
        change = _change(entry.body)
        if change is not None:
            self._show_all(entry, change)
        self._unlooked += 1
        if self._unlooked >= _LOOK_AFTER:
            self._unlooked = 0
            self._compactor.submit(self._look_at_length)

    def _show_all(self, entry: Entry, change: Change) -> None:
        asker, shown = self._waiting.get(entry.call, (None, None))
        with self._lock:
            for seat in self._seats:
                if entry.position <= seat.position:  # it was attached after this entry had come
                    continue
                self._show(seat, change, shown if seat.follower is asker else None)
                if entry.whole:
                    seat.position = entry.position

    def _show(self, seat: _Subscriber, change: Change, shown: Future[ChangeCounts] | None) -> None:
        try:
            applied = seat.follower.apply(change)
        except Exception as error:  # noqa: BLE001 - told to the one who asked, else logged; the others get theirs
            if shown is None:
                _log.exception("a change could not be shown")
            else:
                shown.set_exception(error)
        else:
            if shown is not None:
                shown.set_result(applied)

    def _look_at_length(self) -> None:
        try:
            if self._stream.length() > _MANY_CHANGES and self._stream.compact(_fold):
                _log.info("stream of changes compacted", stream=str(self._stream.address))
        except NotReady as error:
            _log.warning("the stream of changes was not compacted", reason=str(error))


def _fold(bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Make few changes of many that come down to the same."""
    last = Compaction(change for change in map(_change, bodies) if change is not None)
    return (change.to_bytes() for change in last.changes())


def _change(body: bytes) -> Change | None:
    """Read a change, None where another program wrote into the stream what is none."""
    try:
        return Change.from_bytes(body)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        _log.error("an entry of the stream is no change, and was left out", reason=repr(error))
        return None
