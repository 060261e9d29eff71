"""A lock that many readers hold together, or one writer alone.

Written by hand because readers of an index are searches: taking it to read costs half a microsecond and allocates
nothing. The locks of `readerwriterlock` and `fasteners` look up the thread, or make an object per reader.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


class ReadWriteLock:
    """Readers share, a writer excludes; a waiting writer goes before readers that come later. Not reentrant.

    Entering the lock itself reads. It keeps nothing about single readers, so `read` needs no object of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._readers = 0
        self._writing = False
        self._writers_waiting = 0

    def read(self) -> AbstractContextManager[object]:
        """Hold the lock together with other readers."""
        return self

    def __enter__(self) -> None:
        with self._lock:
            while self._writing or self._writers_waiting:
                self._changed.wait()
            self._readers += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers and self._writers_waiting:
                self._changed.notify_all()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._lock:
            self._writers_waiting += 1
            self._changed.wait_for(lambda: not self._writing and not self._readers)
            self._writers_waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._lock:
                self._writing = False
                self._changed.notify_all()
