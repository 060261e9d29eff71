"""Lines to a file descriptor that may block, written on a thread of its own: lines are lost rather than waited for."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_MAX_QUEUED_BYTES: Final = 1 << 20
_FLUSH_S: Final = 0.5


class LineWriter:
    """Writes lines in order. `write` neither blocks nor raises, whatever the other end does. Safe for threads.

    Args:
        descriptor: The file descriptor, such as 2 for standard error. It stays open.
        describe_lost: Returns the line to write once lines can be written again, given how many were lost.

    Attributes:
        lost: How many lines were lost so far.
    """

    def __init__(self, descriptor: int, describe_lost: Callable[[int], str] | None = None) -> None:
        self._descriptor = descriptor
        self._describe_lost = describe_lost
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._is_writing = False
        self._reported = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.lost = 0

    def write(self, line: str) -> None:
        """Queue a line, given with its end; it is lost if a megabyte waits already."""
        data = line.encode("utf-8", errors="backslashreplace")
        with self._changed:
            if self._queued_bytes + len(data) > _MAX_QUEUED_BYTES:
                self.lost += 1
                return
            self._lines.append(data)
            self._queued_bytes += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify()

    def flush(self, timeout_s: float = _FLUSH_S) -> None:
        """Wait until all lines are written, at most ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and not self._is_writing, timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines)
                lines, self._is_writing = list(self._lines), True
                self._lines.clear()
                self._queued_bytes = 0
            lost = self._write_all(lines)
            with self._changed:
                self.lost += lost
            if not lost:
                self._report_lost()

    def _write_all(self, lines: list[bytes]) -> int:
        """Write lines, several at a time; returns how many could not be written."""
        rest = memoryview(b"".join(lines))
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:  # closed, a broken pipe, a full disk
            return bytes(rest).count(b"\n")
        return 0

    def _report_lost(self) -> None:
        if self._describe_lost is not None and self.lost > self._reported:
            count, self._reported = self.lost - self._reported, self.lost
            self._write_all([self._describe_lost(count).encode()])
