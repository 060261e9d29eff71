"""Texts of items that were added or replaced since the release, as the stream of changes tells them."""

from __future__ import annotations

import struct
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
        address: Where the stream is.
        on_connection: Told whether it can be followed, when that changes.

    Attributes:
        texts: The text of each item that was added or replaced and is still there, by its id.

    Raises:
        NotReady: Redis is not there.
    """

    def __init__(self, address: StreamAddress, on_connection: Callable[[bool], None] = lambda _: None) -> None:
        self.texts: dict[str, str] = {}
        self._stream = ChangeStream(address)
        position = START
        for entry in self._stream.entries_after(START):
            self._take(entry)
            position = entry.position
        self._tail = StreamFollower(self._stream, position, self._take, on_connection)

    def close(self) -> None:
        """Let go of the thread and the connection."""
        self._tail.stop()
        self._stream.close()

    def _take(self, entry: Entry) -> None:
        try:
            changed = read_texts(entry.body)
        except (KeyError, TypeError, ValueError, struct.error) as error:
            _log.error("an entry of the stream is no change, and was left out", reason=repr(error))
            return
        for item_id, text in changed.items():
            if text is None:
                self.texts.pop(item_id, None)
            else:
                self.texts[item_id] = text
