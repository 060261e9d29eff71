"""Pairs that several calls share while they are read."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from services.ranking.cross_encoder.in_flight_pairs import InFlightPairs, wait_until_done
from services.ranking.request import CallContext, Priority

CALL = CallContext(10.0)


async def test_a_pair_is_found_while_it_is_read():
    """Pairs are found by context and item until their reading ends."""
    pairs = InFlightPairs()
    with pairs.reading(b"me", [1, b"text"], CALL):
        assert pairs.find(b"me", 1, CALL) is pairs.find(b"me", b"text", CALL) is not None
        assert pairs.find(b"you", 1, CALL) is None
        assert pairs.find(b"me", 2, CALL) is None
    assert len(pairs) == 0
    with pytest.raises(KeyError), pairs.reading(b"me", [1], CALL):
        raise KeyError
    assert len(pairs) == 0


async def test_only_readings_that_end_early_enough_are_found():
    """A later deadline or a lower priority of the reading call does not serve."""
    pairs = InFlightPairs()
    with pairs.reading(b"me", [1], CallContext(10.0, Priority.BATCH)):
        assert pairs.find(b"me", 1, CallContext(10.0, Priority.BATCH))
        assert pairs.find(b"me", 1, CallContext(20.0, Priority.BATCH))
        assert not pairs.find(b"me", 1, CallContext(9.0, Priority.BATCH))
        assert not pairs.find(b"me", 1, CallContext(20.0))


async def test_the_latest_reading_of_a_pair_counts():
    """A reading that ends does not remove a pair that another call reads by now."""
    pairs = InFlightPairs()
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(pairs.reading(b"me", [1], CallContext(9.0)))
        second.enter_context(pairs.reading(b"me", [1, 2], CALL))
        first.close()
        assert pairs.find(b"me", 1, CALL)
        second.close()
        assert len(pairs) == 0


async def test_waiting_ends_with_the_readings():
    """A call waits for every reading that it found, and for nothing if it found none."""
    pairs = InFlightPairs()
    await wait_until_done([])
    with pairs.reading(b"me", [1], CALL):
        reading = pairs.find(b"me", 1, CALL)
        assert reading
        waiting = asyncio.create_task(wait_until_done([reading, reading]))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
