"""The thread that maintains a release's catalogue and index while it is searched."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from common.cpu import lower_thread_priority
from common.process.endless_loop import start_thread

# After an audit that failed, in seconds.
_RETRY_S: Final = 60.0
_log: Final = structlog.get_logger()


class MaintenanceTask(Protocol):
    """Work that becomes due as the catalogue changes."""

    def run_if_due(self) -> bool:
        """Do one step if it is due; returns whether it was."""
        ...


class Auditor(Protocol):
    """Work that is never urgent."""

    def audit(self) -> bool:
        """Do one step; returns whether anything is left."""
        ...


class MaintenanceWorker:
    """Runs maintenance on a thread of its own, one step at a time.

    Args:
        tasks: Are run while one of them is due, the first ones first. If one raises, that is logged, and they are run
            again after the next change.
        auditor: Audits while no task is due; None for no audit.
        audit_share: The fraction of one core that the audit may take in the background; 0 for none.
    """

    def __init__(
        self, tasks: Sequence[MaintenanceTask], auditor: Auditor | None = None, audit_share: float = 0.02
    ) -> None:
        self._tasks = tasks
        self._auditor = auditor
        self._audit_share = audit_share
        self._wake = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._is_closed = False
        self._audit_is_done = not self._audits_in_background()
        self._next_audit_s = 0.0  # by `time.monotonic`; an earlier audit would exceed its share
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run what is due already, then begin to run maintenance in the background."""
        self.run_due_tasks()
        self._thread = start_thread("maintenance", self._work, lambda: self._is_closed, begin=lower_thread_priority)

    def run_due_tasks(self) -> bool:
        """Run tasks until none is due; returns whether any was. Waits for the thread's step under way."""
        with self._one_at_a_time:
            return self._run_due_tasks()

    def audit_all(self) -> None:
        """Audit until nothing is left, and run the tasks that this makes due."""
        while self._audit_step()[0]:
            pass

    def wake(self) -> None:
        """Have the thread check whether a task is due; returns at once."""
        self._wake.set()

    def close(self) -> None:
        """End the thread after the step under way."""
        self._is_closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        """Wait until something is due, and do it."""
        wait_s = None if self._audit_is_done else max(self._next_audit_s - time.monotonic(), 0.0)
        if self._wake.wait(wait_s):
            self._wake.clear()
            if self._is_closed:
                return
            self.run_due_tasks()
            self._audit_is_done = not self._audits_in_background()
        if not self._audit_is_done and time.monotonic() >= self._next_audit_s:
            self._audit()

    def _audits_in_background(self) -> bool:
        return self._auditor is not None and self._audit_share > 0

    def _audit(self) -> None:
        """Do one audit step, and delay the next so that the audit keeps to its share."""
        try:
            is_left, took_s = self._audit_step()
        except Exception:  # noqa: BLE001 - searches go on without it
            _log.exception("the audit failed; it is tried again")
            self._next_audit_s = time.monotonic() + _RETRY_S
            return
        self._audit_is_done = not is_left
        self._next_audit_s = time.monotonic() + took_s * (1 / self._audit_share - 1)

    def _audit_step(self) -> tuple[bool, float]:
        """Do one audit step; returns whether anything is left, and the CPU seconds that it took, tasks excluded.

        What was found may make a task due, and a task may make another audit due.
        """
        with self._one_at_a_time:
            began = time.thread_time()
            is_left = self._auditor is not None and self._auditor.audit()
            took_s = time.thread_time() - began
        return is_left or self.run_due_tasks(), took_s

    def _run_due_tasks(self) -> bool:
        any_due = False
        try:
            while not self._is_closed and any(task.run_if_due() for task in self._tasks):
                any_due = True
        except Exception:  # noqa: BLE001 - searches go on without it, slower
            _log.exception("maintenance failed; it is tried again after the next change")
        return any_due
