"""A lock on a file that the kernel takes back when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock while the body runs; the file is removed afterwards.

    Unlike the number of a process, which may be another one's by now or be counted in another container, the lock
    is held exactly as long as its holder lives. It works between hosts where the file system's `flock` does.

    Args:
        file: The lock's file; made where it does not exist.
        on_wait: Told once, where somebody else holds the lock, before it is waited for.
    """
    descriptor = _acquire(file)
    if descriptor is None:
        on_wait()
    while descriptor is None:
        descriptor = _acquire(file, wait=True)
    try:
        yield
    finally:
        _give_back(file, descriptor)


@contextmanager
def locked_if_free(file: Path) -> Iterator[bool]:
    """Hold the lock while the body runs where nobody else does; tells whether it is held."""
    descriptor = _acquire(file)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _give_back(file, descriptor)


def _acquire(file: Path, *, wait: bool = False) -> int | None:
    """Return a descriptor that holds the lock; None where somebody else holds it, or did while it was waited for."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if _is_still(file, descriptor):
            return descriptor
    os.close(descriptor)
    return None


def _is_still(file: Path, descriptor: int) -> bool:
    """Tell whether the descriptor's file is the one at the path: its last holder removed it, and others may follow."""
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _give_back(file: Path, descriptor: int) -> None:
    file.unlink(missing_ok=True)  # while it is held: who opened it before sees that it is gone
    os.close(descriptor)
