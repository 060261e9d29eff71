"""Work that must not take the processor from searches."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

# Ten steps of Linux' priorities are a ninth of the weight: enough that work goes on where every core is busy.
_STEPS: Final = 10


def step_back() -> None:
    """Give the calling thread less of the processor than others, for good.

    Linux has a priority for each thread; elsewhere, and where it is not allowed, the thread stays as it is.
    """
    with suppress(OSError, AttributeError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _STEPS)
