"""Follows a change stream in a thread, and resumes by itself when Redis returns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from common.changes.redis_stream import START, ChangeStream, Entry, Position, PositionLost
from common.errors import NotReady
from common.process.endless_loop import start_thread

_RETRY_S: Final = 0.2
_log = structlog.get_logger()


class StreamFollower:
    """Passes on every entry after a position, in order, each once.

    Args:
        stream: The stream.
        after: The position to start after.
        on_entry: Called with each entry, in the follower's thread; its errors are logged, and the next entry follows.
        on_connection: Called with whether Redis can be reached, at the start and on each change.
        on_loss: Called before the stream is read again from its beginning because it lost entries, with the position
            up to which they were followed; NotReady makes the follower try again.

    Attributes:
        connected: Whether Redis can be reached.
        at_end_s: When the end of the stream was last reached, in seconds of the monotonic clock; while it is followed,
            no more than a second ago.
    """

    def __init__(
        self,
        stream: ChangeStream,
        after: Position,
        on_entry: Callable[[Entry], None],
        on_connection: Callable[[bool], None],
        on_loss: Callable[[Position], None] = lambda _: None,
    ) -> None:
        self._stream = stream
        self._position = after
        self.at_end_s = time.monotonic()
        self._on_entry = on_entry
        self._on_connection = on_connection
        self._on_loss = on_loss
        self.connected = True
        self._stopping = threading.Event()
        on_connection(True)
        self._thread = start_thread("changes", self._follow, self._stopping.is_set)

    def stop(self) -> None:
        """Stop following; blocks up to two seconds while the thread waits for Redis."""
        self._stopping.set()
        self._thread.join()

    def _follow(self) -> None:
        """Wait for entries and pass them on, once."""
        try:
            self._stream.wait_for_entry(self._position)
            try:
                self._catch_up()
            except PositionLost:
                self._begin_again()
        except NotReady as error:
            self._set_connected(False, str(error))
            self._stopping.wait(_RETRY_S)
        except Exception as error:  # whatever it is: this server cannot follow, and says so
            self._set_connected(False, repr(error))
            raise
        else:
            self.at_end_s = time.monotonic()
            self._set_connected(True, "")

    def _begin_again(self) -> None:
        _log.error(
            "the stream of changes has lost entries; it is followed from its beginning",
            stream=str(self._stream.address),
            followed_until=str(self._position),
        )
        self._on_loss(self._position)
        self._position = START

    def _catch_up(self) -> None:
        for entry in self._stream.entries_after(self._position):
            if self._stopping.is_set():
                return
            try:
                self._on_entry(entry)
            except Exception:  # noqa: BLE001 - a bad entry must not block the good ones after it
                _log.exception("a change was skipped", stream=str(self._stream.address), entry=str(entry.position))
            if entry.reaches_position:
                self._position = entry.position

    def _set_connected(self, connected: bool, reason: str) -> None:
        if connected == self.connected:
            return
        self.connected = connected
        self._on_connection(connected)
        if connected:
            _log.info("changes are followed again", stream=str(self._stream.address))
        else:
            _log.warning("changes cannot be followed; trying again", reason=reason)
