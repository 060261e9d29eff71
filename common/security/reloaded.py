"""A value that is read from files, and read again when they change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")
_Signature = tuple[tuple[int, int, int], ...]
_log = structlog.get_logger()


class Reloaded(Generic[T]):
    """The value of some files; any thread may read it.

    A change that cannot be read is logged, and the last good value stays: a file may be half written, or a key be
    replaced before its certificate. It is tried again until it can be read.

    Args:
        files: The files to watch. Links are followed, since Kubernetes replaces secrets by switching a link.
        load: Reads the value.
        check_interval_s: How long a value is used before the files are looked at; 0 looks at every read.

    Raises:
        Exception: What ``load`` raises the first time.
    """

    def __init__(self, files: Sequence[Path], load: Callable[[], T], check_interval_s: float = 1.0) -> None:
        self._files = tuple(files)
        self._load = load
        self._check_interval_s = check_interval_s
        self._lock = threading.Lock()
        self._signature = _signature(self._files)  # before the files are read, so that no change is missed
        self._reported: _Signature | None = None
        self._value = load()
        self._next_check_s = time.monotonic() + check_interval_s

    def get(self) -> T:
        """Return the value of the files as they are, or the last one that could be read."""
        with self._lock:
            now_s = time.monotonic()
            if now_s >= self._next_check_s:
                self._next_check_s = now_s + self._check_interval_s
                self._check()
            return self._value

    def _check(self) -> None:
        signature = _signature(self._files)
        if signature == self._signature:
            return
        try:
            self._value = self._load()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new files, the old value still holds
            if signature != self._reported:
                _log.warning("changed files cannot be used; the last good ones stay in use", reason=str(error))
            self._reported = signature
            return
        self._signature = signature
        _log.info("files were read again", files=[str(file) for file in self._files])


def _signature(files: Sequence[Path]) -> _Signature:
    """Return what changes with a file's content: its time of change, size and inode; zeros if it is missing."""
    found = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
