"""What is due is done in the background."""

from __future__ import annotations

import threading

from services.retrieval.upkeep import Upkeep


def test_what_is_due_is_done_until_nothing_is():
    """Starting does everything that is due, and each look does what came since; a failure does not end it."""
    due, done, told = [2], [], threading.Event()

    def tend() -> bool:
        if due[0] < 0:
            due[0] = 0
            told.set()
            raise RuntimeError("no luck")
        if not due[0]:
            told.set()
            return False
        due[0] -= 1
        done.append(threading.current_thread().name)
        return True

    upkeep = Upkeep(tend)
    upkeep.start()
    assert done == ["MainThread"] * 2
    for wanted in (-1, 3):
        told.clear()
        due[0] = wanted
        upkeep.look()
        assert told.wait(10)
    upkeep.close()
    assert done == ["MainThread"] * 2 + ["upkeep"] * 3
