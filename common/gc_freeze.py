"""Excludes what a server loads at its start from garbage collection.

A collection of the oldest generation visits every object while it holds the interpreter: with a catalogue of 50,000
items, no call is answered for 50 ms. Frozen objects are not visited
(https://docs.python.org/3/library/gc.html#gc.freeze).
"""

from __future__ import annotations

import gc
import threading
from typing import Final

# gc.get_freeze_count() would visit all frozen objects: 10 ms with 50,000 items, while it holds the interpreter.
_frozen: Final = threading.Event()


def freeze_heap() -> None:
    """Collect garbage once, and exclude every present object from later collections."""
    gc.collect()
    gc.freeze()
    _frozen.set()


def freeze_new_objects() -> None:
    """Freeze the objects made since as well; does nothing if `freeze_heap` was never called.

    Call it after making many objects that will stay. It costs a collection of the younger generations; older garbage
    stays until `refreeze_heap`.
    """
    if _frozen.is_set():
        gc.collect(1)
        gc.freeze()


def refreeze_heap() -> None:
    """Collect the garbage among frozen objects, and freeze the rest; does nothing if nothing was frozen."""
    if _frozen.is_set():
        gc.unfreeze()
        freeze_heap()
