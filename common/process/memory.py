"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def return_freed_memory() -> None:
    """Give the C library's free memory back; without it, glibc keeps most of what an unloaded release used.

    Takes milliseconds; other threads go on. Does nothing with another C library.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
