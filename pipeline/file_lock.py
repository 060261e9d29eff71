"""File locks that the kernel releases when their holder dies, and whose files are removed afterwards.

`filelock` uses `flock` here. Its fallback for file systems without `flock` goes by process ids, which containers share:
it is switched off, so that locking fails there with an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def locked(file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock while the body runs; wait for it if another process or thread holds it.

    Args:
        file: The lock's file; created if it does not exist, and removed afterwards.
        on_wait: Called once before waiting.
    """
    lock = FileLock(file, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        on_wait()
        lock.acquire()
    with _release(lock, file):
        yield


@contextmanager
def locked_if_free(file: Path) -> Iterator[bool]:
    """Run the body with the lock if nobody holds it, else without it; yield whether it is held."""
    lock = FileLock(file, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    with _release(lock, file):
        yield True


@contextmanager
def _release(lock: FileLock, file: Path) -> Iterator[None]:
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is held: a waiter that locks the removed file opens a new one
        lock.release()
