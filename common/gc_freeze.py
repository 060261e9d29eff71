"""What a server loads at its start is kept out of garbage collection.

A collection of the oldest generation walks every object, with the interpreter held: 50 ms beside a catalogue of 50,000
items, in which no call is answered. What is frozen is not walked (https://docs.python.org/3/library/gc.html#gc.freeze).
"""

from __future__ import annotations

import gc
import threading
from typing import Final

# Counting what is frozen instead takes a walk over all of it: 10 ms with the interpreter held, beside 50,000 items.
_settled: Final = threading.Event()


def freeze_heap() -> None:
    """Collect once, and from now on leave alone what is there."""
    gc.collect()
    gc.freeze()
    _settled.set()


def freeze_new_objects() -> None:
    """Leave alone what came since, too; nothing where nothing was left alone before.

    Costs what a collection of the younger generations does. Garbage older than these stays until
    `refreeze_heap`: call it where much came that will stay.
    """
    if _settled.is_set():
        gc.collect(1)
        gc.freeze()


def refreeze_heap() -> None:
    """Collect what has become garbage of all that was left alone; nothing where nothing was."""
    if _settled.is_set():
        gc.unfreeze()
        freeze_heap()
