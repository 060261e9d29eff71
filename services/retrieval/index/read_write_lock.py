"""A lock that many readers hold together, or one writer alone.

Written by hand because every search enters it: 0.9 µs, against 3 to 4 µs for `readerwriterlock` and `fasteners`, which
make a context manager for each reader (`docs/adr/0020-what-stays-hand-written.md`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


class ReadWriteLock:
    """Readers share the lock, a writer excludes all others. A waiting writer precedes later readers. Not reentrant.

    The lock itself is the context manager of readers, which have no state of their own. A reader that leaves notifies
    only if a writer waits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._readers = 0
        self._writing = False
        self._writers_waiting = 0

    def read(self) -> AbstractContextManager[object]:
        """Return a context manager that holds the lock together with other readers."""
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
