"""Batches are smaller for a while after the GPU ran out of memory."""

from __future__ import annotations

from services.ranking.batching.memory_budget import HOLD_S, MemoryBudget


def test_a_batch_that_did_not_fit_halves_the_bound():
    """The bound is half of what failed; the second worker that fails at the same size changes nothing."""
    budget = MemoryBudget(1_000)
    assert budget.tokens(5.0) == 1_000
    assert budget.shrink(1_000, 5.0) == 500
    assert budget.shrink(1_000, 5.0) == 500
    assert budget.shrink(300, 5.0) == 150
    assert budget.shrink(1, 5.0) == 1


def test_the_bound_doubles_until_it_is_whole():
    """It is held for a while, then doubles, never past the whole."""
    budget = MemoryBudget(1_000)
    budget.shrink(600, 100.0)
    seen = [budget.tokens(100.0 + HOLD_S * share) for share in (0.0, 0.99, 1.0, 1.99, 2.0, 9.0)]
    assert seen == [300, 300, 600, 600, 1_000, 1_000]


def test_a_pause_counts():
    """After a long time without batches the bound is whole at once."""
    budget = MemoryBudget(1_000)
    budget.shrink(10, 0.0)
    assert budget.tokens(100 * HOLD_S) == 1_000
