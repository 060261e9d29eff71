"""A loop goes on whatever its step raises, and says so."""

from __future__ import annotations

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from common.process.endless_loop import STATES, repeat, start_thread


class Step:
    """A step that fails twice and then works, until it has run five times."""

    def __init__(self) -> None:
        self.runs = 0
        self.is_failing: list[bool] = []
        self.done = threading.Event()

    def __call__(self) -> None:
        """Run once."""
        self.runs += 1
        self.is_failing.append(STATES["test"].is_failing)
        if self.runs == 5:
            self.done.set()
        if self.runs in (1, 2):
            raise KeyError("unforeseen")


@pytest.fixture
def step() -> Step:
    """Return a step, of a loop that is not known yet."""
    STATES.pop("test", None)
    return Step()


def test_a_thread_goes_on_after_an_error(step: Step):
    """Errors are counted, logged once while they last, and the state says whether the last step failed."""
    begun: list[str] = []
    with capture_logs() as logs:
        thread = start_thread(
            "test", step, step.done.is_set, begin=lambda: begun.append(threading.current_thread().name), retry_s=0
        )
        thread.join()
    assert (step.runs, begun, STATES["test"].failures) == (5, ["test"], 2)
    assert step.is_failing == [False, True, True, False, False]
    assert [line["log_level"] for line in logs] == ["error", "info"]
    assert isinstance(logs[0]["exc_info"], KeyError)


async def test_a_task_goes_on_after_an_error(step: Step):
    """The same holds on the event loop, where cancelling the task ends the loop."""

    async def take() -> None:
        await asyncio.sleep(0)
        step()

    with capture_logs() as logs:
        task = asyncio.create_task(repeat("test", take, retry_s=0))
        while step.runs < 5:  # noqa: ASYNC110 - the step is a plain function
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert STATES["test"].failures == 2
    assert [line["log_level"] for line in logs] == ["error", "info"]
