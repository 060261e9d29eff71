"""Where an event loop's computing is done."""

from __future__ import annotations

import threading

import pytest

from services.ranking.cascade.compute_pool import ComputePool


@pytest.mark.parametrize(("expected_s", "there"), [(1e-4, True), (0.01, False)])
async def test_short_work_is_done_on_the_spot(expected_s: float, *, there: bool):
    """What is short stays in the thread of the event loop, what is long leaves it to others."""
    threads = ComputePool(1, "test")
    try:
        assert (await threads.run(threading.get_ident, expected_s) == threading.get_ident()) is there
    finally:
        threads.close()


async def test_work_of_unknown_length_goes_to_a_thread_named_for_it():
    """Nothing keeps an event loop for who knows how long."""
    threads = ComputePool(1, "test")
    try:
        assert (await threads.run(lambda: threading.current_thread().name)).startswith("test")
    finally:
        threads.close()
