"""Work that must not take the processor from searches."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

# Of Linux' weights, a ninth of a search's: enough that work goes on where every core is busy.
_NICE: Final = 10


def step_back() -> None:
    """Give the calling thread less of the processor than others, for good.

    Linux has a priority for each thread; elsewhere, and where it is not allowed, the thread stays as it is.
    """
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
