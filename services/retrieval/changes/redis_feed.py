"""The change feed of several servers with one catalogue: a Redis stream."""

from __future__ import annotations

import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog

from common.changes.redis_stream import START, ChangeStream, Entry, Position
from common.changes.stream_address import StreamAddress
from common.changes.stream_follower import StreamFollower
from common.errors import NotReady
from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.change import Change
from services.retrieval.changes.change_feed import ChangeListener, HoldsChanges
from services.retrieval.changes.compaction import Compaction

# How long a stored change may take to arrive at this server.
_ARRIVAL_TIMEOUT_S: Final = 5.0
_log = structlog.get_logger()


@dataclass(frozen=True)
class RedisFeedOptions:
    """When the stream is compacted.

    Attributes:
        max_entries: The length above which the stream is compacted.
        check_interval: How many entries arrive between two checks of the length.
    """

    max_entries: int = 10_000
    check_interval: int = 1_000


@dataclass
class _Subscriber:
    """A listener, and the position of the last entry that was delivered to it."""

    listener: ChangeListener
    position: Position


class RedisFeed:
    """Implements `ChangeFeed` with a Redis stream: appends changes, and applies every entry that arrives, its own too.

    The order is the stream's, the same for every server. Nothing is kept on this machine: a server that starts reads
    the stream's snapshot and the entries after it, and one that lost Redis continues after the last entry it received.

    Args:
        address: The address of the stream.
        on_connection: Called with whether the stream can be followed, when that changes.
        on_loss: Called if the stream has lost entries, with whether they were restored.
        options: When the stream is compacted.

    Raises:
        NotReady: Redis can't be reached, so the catalogue is unknown.
    """

    def __init__(
        self,
        address: StreamAddress,
        on_connection: Callable[[bool], None] = lambda _: None,
        options: RedisFeedOptions | None = None,
        on_loss: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._stream = ChangeStream(address)
        self._on_connection = on_connection
        self._on_loss = on_loss
        self._options = options or RedisFeedOptions()
        self._lock = threading.Lock()
        self._subscribers: list[_Subscriber] = []
        self._pending: dict[bytes, tuple[ChangeListener, Future[ChangeCounts]]] = {}  # commits by call id
        self._follower: StreamFollower | None = None
        self._compactor = ThreadPoolExecutor(1, thread_name_prefix="compact")
        self._unchecked_entries = 0
        self._stream.check_durability()
        self._compact_if_long()

    def lag_s(self) -> float:
        """Return for how long the end of the stream has not been reached; 0 before the first subscriber."""
        return 0.0 if self._follower is None else time.monotonic() - self._follower.at_end_s

    def subscribe(self, listener: ChangeListener) -> int:
        """See `ChangeFeed.subscribe`."""
        subscriber = _Subscriber(listener, START)
        count = self._replay(subscriber)  # most of the stream is read without blocking the others
        with self._lock:
            count += self._replay(subscriber)
            self._subscribers.append(subscriber)
            if self._follower is None:
                self._follower = StreamFollower(
                    self._stream, subscriber.position, self._receive, self._on_connection, self._begin_again
                )
        return count

    def unsubscribe(self, listener: ChangeListener) -> None:
        """See `ChangeFeed.unsubscribe`."""
        with self._lock:
            self._subscribers = [each for each in self._subscribers if each.listener is not listener]

    def commit(self, change: Change, listener: ChangeListener) -> ChangeCounts:
        """Append a change and wait until it arrives with the stream; see `ChangeFeed.commit`."""
        if self._follower is None or not self._follower.connected:
            raise NotReady(f"changes can't be stored: {self._stream.address} can't be reached; repeat the call later")
        call_id, applied = uuid.uuid4().bytes, Future[ChangeCounts]()
        self._pending[call_id] = listener, applied
        try:
            self._stream.append(change.to_bytes(), call_id)
            return applied.result(_ARRIVAL_TIMEOUT_S)
        except TimeoutError as error:
            raise NotReady(
                "the change is stored and will be applied, but has not arrived at this server yet"
            ) from error
        finally:
            del self._pending[call_id]

    def close(self) -> None:
        """End threads and close connections."""
        if self._follower is not None:
            self._follower.stop()
        self._compactor.shutdown(cancel_futures=True)
        self._stream.close()

    def _replay(self, subscriber: _Subscriber) -> int:
        count = 0
        for entry in self._stream.entries_after(subscriber.position):
            change = _read_change(entry.body)
            if change is not None:
                subscriber.listener.apply(change)
                count += 1
            if entry.reaches_position:
                subscriber.position = entry.position
        return count

    def _begin_again(self, lost: Position) -> None:
        """Restore what the stream lost from this server's catalogue, and read the stream from its beginning.

        A stream that lost only its last entries is not restored: changes made since would be overwritten.
        """
        with self._lock:
            holders = [each.listener for each in self._subscribers if isinstance(each.listener, HoldsChanges)]
        changes = holders[-1].changes_since_release() if holders else ()
        is_restored = self._stream.restore((change.to_bytes() for change in changes), lost)
        self._on_loss(is_restored)
        if is_restored:
            _log.warning("the stream was restored from a server's catalogue", stream=str(self._stream.address))
        else:
            _log.error(
                "the stream could not be restored: repeat the changes of the time that it lost",
                stream=str(self._stream.address),
            )
        with self._lock:
            for subscriber in self._subscribers:
                subscriber.position = START

    def _receive(self, entry: Entry) -> None:
        change = _read_change(entry.body)
        if change is not None:
            self._deliver(entry, change)
        self._unchecked_entries += 1
        if self._unchecked_entries >= self._options.check_interval:
            self._unchecked_entries = 0
            self._compactor.submit(self._compact_if_long)

    def _deliver(self, entry: Entry, change: Change) -> None:
        committer, applied = self._pending.get(entry.call_id, (None, None))
        with self._lock:
            for subscriber in self._subscribers:
                if entry.position <= subscriber.position:  # `subscribe` has replayed it
                    continue
                _apply(subscriber.listener, change, applied if subscriber.listener is committer else None)
                if entry.reaches_position:
                    subscriber.position = entry.position

    def _compact_if_long(self) -> None:
        try:
            if self._stream.length() > self._options.max_entries and self._stream.compact(_compacted):
                _log.info("change stream compacted", stream=str(self._stream.address))
        except NotReady as error:
            _log.warning("change stream not compacted", reason=str(error))


def _apply(listener: ChangeListener, change: Change, applied: Future[ChangeCounts] | None) -> None:
    """Apply a change; an error goes to the call that committed it, else to the log, so that others get the change."""
    try:
        counts = listener.apply(change)
    except Exception as error:  # noqa: BLE001 - see above
        if applied is None:
            _log.exception("change not applied")
        else:
            applied.set_exception(error)
    else:
        if applied is not None:
            applied.set_result(counts)


def _compacted(bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Compact changes, as bytes."""
    compaction = Compaction(change for change in map(_read_change, bodies) if change is not None)
    return (change.to_bytes() for change in compaction.changes())


def _read_change(body: bytes) -> Change | None:
    """Read a change; returns None, and logs an error, for an entry that another program wrote."""
    try:
        return Change.from_bytes(body)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        _log.error("stream entry is not a change, skipped", reason=repr(error))
        return None
