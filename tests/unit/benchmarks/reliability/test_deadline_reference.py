"""Which calls passed their deadlines, apart from this machine's own lateness."""

from __future__ import annotations

import asyncio

from benchmarks.reliability.deadline_reference import DeadlineReference
from benchmarks.reliability.recommend_load import CallRecord


def _call(ended_s: float, late_ms: float) -> CallRecord:
    ms = 500.0 + late_ms
    return CallRecord(ended_s - ms / 1e3, ms, "DEADLINE_EXCEEDED", deadline_ms=500.0)


def test_only_calls_later_than_the_reference_count():
    """A late call counts unless the machine was as late around the same time."""
    reference = DeadlineReference(0.5)
    reference._late = [(10.0, 30.0), (20.0, 1.0)]
    in_time, excused, late = _call(10.0, 19.0), _call(10.5, 49.0), _call(20.0, 49.0)
    assert reference.too_late([in_time, excused, late], 20.0) == [late]
    assert reference.latest_ms() == 30.0


async def test_a_silent_server_is_waited_for_until_the_deadline():
    """The reference calls end at their deadline, not before."""
    reference = DeadlineReference(0.1)
    task = asyncio.create_task(reference.run())
    while not reference._late:  # noqa: ASYNC110 - a record is no event
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert reference.latest_ms() > -1.0
