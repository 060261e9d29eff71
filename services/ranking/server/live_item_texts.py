"""Texts of items that were added or replaced since the release, from the stream of changes."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from common.changes.codec import read_texts
from common.changes.redis_stream import START, ChangeStream, Entry
from common.changes.stream_address import StreamAddress
from common.changes.stream_follower import StreamFollower

NO_LIVE_TEXTS: Final[Mapping[str, str]] = {}
_log = structlog.get_logger()


class LiveItemTexts:
    """Follows the stream that the retrieval servers write. Safe for threads.

    Args:
        address: The stream's address.
        on_connection: Called with whether the stream is reachable, when that changes.

    Attributes:
        texts: The texts of added and replaced items that were not deleted, by item id.

    Raises:
        NotReady: Redis is not reachable.
    """

    def __init__(self, address: StreamAddress, on_connection: Callable[[bool], None] = lambda _: None) -> None:
        self.texts: dict[str, str] = {}
        self._stream = ChangeStream(address)
        position = START
        for entry in self._stream.entries_after(START):
            self._apply(entry)
            position = entry.position
        self._follower = StreamFollower(self._stream, position, self._apply, on_connection)

    def lag_s(self) -> float:
        """Return for how long the end of the stream has not been reached."""
        return time.monotonic() - self._follower.at_end_s

    def close(self) -> None:
        """End the thread and close the connection."""
        self._follower.stop()
        self._stream.close()

    def _apply(self, entry: Entry) -> None:
        try:
            changed = read_texts(entry.body)
        except (KeyError, TypeError, ValueError, struct.error) as error:
            _log.error("skipped an entry of the stream that is not a change", reason=repr(error))
            return
        for item_id, text in changed.items():
            if text is None:
                self.texts.pop(item_id, None)
            else:
                self.texts[item_id] = text
