"""The texts of changed items in the order of their last changes, for services that read items' texts."""

from __future__ import annotations

import asyncio
import threading
import uuid
from itertools import takewhile
from typing import Final, NamedTuple

from services.retrieval.catalogue.live_catalogue import ChangeCounts
from services.retrieval.changes.change import Change

MAX_TEXTS: Final = 500


class TextPage(NamedTuple):
    """Some texts of the log.

    Attributes:
        log_id: The log's id.
        position: Where to read on.
        texts: The last text of each item, None if it was deleted.
        more: Whether there are more.
    """

    log_id: str
    position: int
    texts: list[tuple[str, str | None]]
    more: bool


class TextLog:
    """Holds the last text of every item that was ever changed; implements `ChangeListener`. Safe for threads.

    Nothing is stored: the changes are durable in their feed, which delivers all of them to a new log. Positions count
    upserts and deletions. They are those of this log alone, so each log has an id.
    """

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[int, str | None]] = {}  # in the order of the positions
        self._end = 0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def apply(self, change: Change) -> ChangeCounts:
        """Take the texts of a change, and wake who waits for one; the counts are empty."""
        with self._lock:
            for item in change.items:
                self._put(item.item_id, item.text)
            for item_id in change.deleted:
                self._put(item_id, None)
            waiting = list(self._waiting)
        for loop, changed in waiting:
            loop.call_soon_threadsafe(changed.set)
        return ChangeCounts()

    def read(self, log_id: str, position: int) -> TextPage:
        """Return the first texts after a position; from the beginning if the position is another log's."""
        with self._lock:
            after = position if log_id == self._id else 0
            newest_first = takewhile(lambda entry: entry[1][0] > after, reversed(self._entries.items()))
            entries = list(newest_first)[::-1]
            page = entries[:MAX_TEXTS]
            end = page[-1][1][0] if page else self._end
            texts = [(item_id, text) for item_id, (_, text) in page]
            return TextPage(self._id, end, texts, more=len(entries) > len(page))

    async def read_or_wait(self, log_id: str, position: int, wait_s: float) -> TextPage:
        """Read as `read` does; if this log has nothing after the position, wait up to ``wait_s`` seconds for it."""
        changed = asyncio.Event()
        waiting = (asyncio.get_running_loop(), changed)
        with self._lock:
            self._waiting.add(waiting)
        try:
            page = self.read(log_id, position)
            if page.texts or page.log_id != log_id or not wait_s:
                return page
            async with asyncio.timeout(wait_s):
                await changed.wait()
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiting.discard(waiting)
        return self.read(log_id, position)

    def _put(self, item_id: str, text: str | None) -> None:
        self._end += 1
        self._entries.pop(item_id, None)  # a dict keeps the first place of a key
        self._entries[item_id] = (self._end, text)
