"""What is due is done in the background."""

from __future__ import annotations

import threading

import pytest

from services.retrieval.maintenance.background_worker import MaintenanceWorker


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

    upkeep = MaintenanceWorker(tend)
    upkeep.start()
    assert done == ["MainThread"] * 2
    for wanted in (-1, 3):
        told.clear()
        due[0] = wanted
        upkeep.look()
        assert told.wait(10)
    upkeep.close()
    assert done == ["MainThread"] * 2 + ["upkeep"] * 3


def test_what_is_never_urgent_is_done_between():
    """The audit goes on in the background until nothing is left; what it finds is mended, and that audited in turn."""
    left, due, mended, ended = [3], [False], [False], threading.Event()

    def audit() -> bool:
        left[0] -= 1
        if left[0] == 0 and mended[0]:
            ended.set()
        due[0] = left[0] == 0 and not mended[0]
        return left[0] > 0

    def tend() -> bool:
        if not due[0]:
            return False
        due[0], mended[0], left[0] = False, True, 2
        return True

    upkeep = MaintenanceWorker(tend, audit, audit_share=1)
    upkeep.start()
    assert ended.wait(10)
    upkeep.close()
    assert left == [0]


def test_looks_do_not_hurry_the_audit():
    """However often something changes, the audit waits until its share allows the next turn."""
    turns, looked = [0], threading.Event()

    def audit() -> bool:
        turns[0] += 1
        sum(range(100_000))  # takes a moment of the processor, and so a thousand seconds of a millionth
        return True

    def tend() -> bool:
        looked.set()
        return False

    upkeep = MaintenanceWorker(tend, audit, audit_share=1e-6)
    upkeep.start()
    for _ in range(20):
        looked.clear()
        upkeep.look()
        assert looked.wait(10)
    upkeep.close()
    assert turns[0] <= 1


def test_an_audit_that_may_take_nothing_is_none():
    """A share of 0 never audits."""
    upkeep = MaintenanceWorker(lambda: False, lambda: pytest.fail("was audited"), audit_share=0)
    upkeep.start()
    upkeep.look()
    upkeep.close()
