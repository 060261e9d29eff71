"""What is done in the background as the catalogue changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from common.cpu import lower_thread_priority

# Before what never ends well is tried again, in seconds.
_RETRY_S: Final = 60.0


_log = structlog.get_logger()


class MaintenanceWorker:
    """Does what is due on a thread of its own, one thing after the other.

    Args:
        tend: Does one thing that is due, and returns whether there was one. What it raises is logged, and it is called
            again at the next look.
        audit: Does a little of what is never urgent, while nothing is due, and returns whether anything is left of it.
        audit_share: What that may take of one core.
    """

    def __init__(
        self, tend: Callable[[], bool], audit: Callable[[], bool] = lambda: False, audit_share: float = 0.02
    ) -> None:
        self._tend = tend
        self._audit = audit
        self._audit_share = audit_share
        self._due = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._closed = False
        self._idle = not audit_share  # nothing is left to be audited
        self._audit_at_s = 0.0  # before then, by `time.monotonic`, the audit would take more than its share
        self._thread = threading.Thread(target=self._work, name="upkeep", daemon=True)

    def start(self) -> None:
        """Do what is due already, and begin to look for more in the background."""
        self.finish()
        self._thread.start()

    def finish(self) -> bool:
        """Return once nothing is due any more: whether anything was."""
        with self._one_at_a_time:
            return self._do_all()

    def audit_all(self) -> None:
        """Return once the audit has nothing left, and nothing that it found is due."""
        while self._audit_some()[0]:
            pass

    def look(self) -> None:
        """Have a look whether something is due; returns at once."""
        self._due.set()

    def close(self) -> None:
        """End once what is being done is done."""
        self._closed = True
        self._due.set()
        self._thread.join()

    def _work(self) -> None:
        lower_thread_priority()
        while True:
            if self._due.wait(None if self._idle else max(self._audit_at_s - time.monotonic(), 0.0)):
                self._due.clear()
                if self._closed:
                    return
                self.finish()
                self._idle = not self._audit_share
            if not self._idle and time.monotonic() >= self._audit_at_s:
                self._audit_once()

    def _audit_once(self) -> None:
        """Audit a little, and put off the next time by so much that the audit keeps to its share."""
        try:
            left, took_s = self._audit_some()
        except Exception:  # noqa: BLE001 - searching goes on without it
            _log.exception("the audit failed; it is tried again")
            self._audit_at_s = time.monotonic() + _RETRY_S
            return
        self._idle = not left
        self._audit_at_s = time.monotonic() + took_s * (1 / self._audit_share - 1)

    def _audit_some(self) -> tuple[bool, float]:
        """Audit a little: whether anything is left, and the processor's seconds that it took, without repairs.

        What was found may be due for repair, and what that made for an audit.
        """
        with self._one_at_a_time:
            began = time.thread_time()
            left = self._audit()
            took_s = time.thread_time() - began
        return left or self.finish(), took_s

    def _do_all(self) -> bool:
        done = False
        try:
            while not self._closed and self._tend():
                done = True
        except Exception:  # noqa: BLE001 - searching goes on without it, slower
            _log.exception("upkeep of the catalogue failed; it is tried again after the next change")
        return done
