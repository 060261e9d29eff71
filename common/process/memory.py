"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

# Smaller growth is not worth a look through the free blocks.
_MIN_GROWTH_BYTES: Final = 8 << 20


def return_freed_memory() -> None:
    """Give the C library's free memory back; without it, glibc keeps most of what an unloaded release used.

    Takes milliseconds; other threads go on. Does nothing with another C library.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where /proc does not tell it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class FreedMemory:
    """Gives freed memory back after the process has grown; to be asked while it has nothing to do."""

    def __init__(self) -> None:
        self._level_bytes = 0

    def return_if_grown(self) -> None:
        """Give it back if the process has grown by 8 MiB since the last time."""
        if resident_bytes() - self._level_bytes < _MIN_GROWTH_BYTES:
            return
        return_freed_memory()
        self._level_bytes = resident_bytes()
