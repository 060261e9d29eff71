"""The thread that runs maintenance."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from services.retrieval.maintenance.maintenance_worker import MaintenanceWorker


class Task:
    """Runs a function when it is asked for maintenance."""

    def __init__(self, step: Callable[[], bool]) -> None:
        self.run_if_due = step


class Auditor:
    """Runs a function when it is asked for an audit."""

    def __init__(self, step: Callable[[], bool]) -> None:
        self.audit = step


def test_due_tasks_run_until_none_is_due():
    """Starting runs everything that is due, and each wake runs what became due since; an error does not end it."""
    due, done, is_idle = [2], [], threading.Event()

    def step() -> bool:
        if due[0] < 0:
            due[0] = 0
            is_idle.set()
            raise RuntimeError("no luck")
        if not due[0]:
            is_idle.set()
            return False
        due[0] -= 1
        done.append(threading.current_thread().name)
        return True

    worker = MaintenanceWorker([Task(step)])
    worker.start()
    assert done == ["MainThread"] * 2
    for wanted in (-1, 3):
        is_idle.clear()
        due[0] = wanted
        worker.wake()
        assert is_idle.wait(10)
    worker.close()
    assert done == ["MainThread"] * 2 + ["maintenance"] * 3


def test_the_first_task_goes_first():
    """Before each step of a later task, the earlier ones run if they are due."""
    done, due = [], {"compaction": 1, "rebuild": 3}

    def task(name: str) -> Task:
        def step() -> bool:
            if not due[name]:
                return False
            due[name] -= 1
            done.append(name)
            if len(done) == 2:
                due["compaction"] = 1
            return True

        return Task(step)

    worker = MaintenanceWorker([task("compaction"), task("rebuild")])
    assert worker.run_due_tasks()
    assert done == ["compaction", "rebuild", "compaction", "rebuild", "rebuild"]
    assert not worker.run_due_tasks()


def test_the_audit_runs_while_no_task_is_due():
    """The audit goes on in the background until nothing is left; a task that it makes due runs, and is audited."""
    left, is_due, is_repaired, ended = [3], [False], [False], threading.Event()

    def audit() -> bool:
        left[0] -= 1
        if left[0] == 0 and is_repaired[0]:
            ended.set()
        is_due[0] = left[0] == 0 and not is_repaired[0]
        return left[0] > 0

    def repair() -> bool:
        if not is_due[0]:
            return False
        is_due[0], is_repaired[0], left[0] = False, True, 2
        return True

    worker = MaintenanceWorker([Task(repair)], Auditor(audit), audit_share=1)
    worker.start()
    assert ended.wait(10)
    worker.close()
    assert left == [0]


def test_wakes_do_not_hurry_the_audit():
    """However often something changes, the audit waits until its share of the processor allows the next step."""
    steps, checked = [0], threading.Event()

    def audit() -> bool:
        steps[0] += 1
        sum(range(100_000))  # takes a moment of the processor, and so a thousand seconds of a millionth
        return True

    def step() -> bool:
        checked.set()
        return False

    worker = MaintenanceWorker([Task(step)], Auditor(audit), audit_share=1e-6)
    worker.start()
    for _ in range(20):
        checked.clear()
        worker.wake()
        assert checked.wait(10)
    worker.close()
    assert steps[0] <= 1


def test_a_share_of_0_never_audits():
    """An audit that may take nothing is not run."""
    worker = MaintenanceWorker([], Auditor(lambda: pytest.fail("was audited")), audit_share=0)
    worker.start()
    worker.wake()
    worker.close()


def test_closing_waits_for_one_step_only():
    """A worker that is closed during a rebuild ends after the step under way, though more are due."""
    is_due, began = [False], threading.Event()

    def step() -> bool:
        if is_due[0]:
            began.set()
            time.sleep(0.001)
        return is_due[0]

    worker = MaintenanceWorker([Task(step)])
    worker.start()
    is_due[0] = True
    worker.wake()
    assert began.wait(10)
    closing = threading.Thread(target=worker.close)
    closing.start()
    closing.join(10)
    has_ended, is_due[0] = not closing.is_alive(), False
    closing.join()
    assert has_ended
