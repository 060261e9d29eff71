"""What is done in the background as the catalogue changes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from services.retrieval.background import step_back

_log = structlog.get_logger()


class Upkeep:
    """Does what is due on a thread of its own, one thing after the other.

    Args:
        tend: Does one thing that is due, and returns whether there was one. What it raises is logged, and it is called
            again at the next look.
    """

    def __init__(self, tend: Callable[[], bool]) -> None:
        self._tend = tend
        self._due = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="upkeep", daemon=True)

    def start(self) -> None:
        """Do what is due already, and begin to look for more in the background."""
        self.finish()
        self._thread.start()

    def finish(self) -> None:
        """Return once nothing is due any more."""
        with self._one_at_a_time:
            self._do_all()

    def look(self) -> None:
        """Have a look whether something is due; returns at once."""
        self._due.set()

    def close(self) -> None:
        """End once what is being done is done."""
        self._closed = True
        self._due.set()
        self._thread.join()

    def _work(self) -> None:
        step_back()
        while True:
            self._due.wait()
            self._due.clear()
            if self._closed:
                return
            self.finish()

    def _do_all(self) -> None:
        try:
            while not self._closed and self._tend():
                pass
        except Exception:  # noqa: BLE001 - searching goes on without it, slower
            _log.exception("upkeep of the catalogue failed; it is tried again after the next change")
