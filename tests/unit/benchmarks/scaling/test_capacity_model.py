"""The arithmetic of the capacity model, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.scaling.capacity_model import Coefficients, PlannedLoad, core_ms_of, pods_for, saturation_per_s

COSTS = Coefficients(
    core_ms={
        "history": {"gateway": 4.0, "retrieval": 3.0, "ranking": 5.0},
        "query": {"gateway": 2.0, "retrieval": 7.0, "ranking": 3.0},
    },
    candidate_ms={"gateway": 0.01, "retrieval": 0.02, "ranking": 0.03},
    pair_ms=1.5,
    late_ms=0.02,
    memory_mb={"gateway": 200.0, "retrieval": 500.0, "ranking": 300.0},
    base_mb=200.0,
)
LOAD = PlannedLoad(calls_per_s=600.0, shares={"history": 0.75, "query": 0.25})


def test_a_call_costs_the_mean_of_its_occasions():
    """Shares need not add up to 1."""
    assert core_ms_of(COSTS, LOAD, "gateway") == pytest.approx(3.5)
    assert core_ms_of(COSTS, replace(LOAD, shares={"history": 3.0, "query": 1.0}), "retrieval") == pytest.approx(4.0)


def test_candidates_and_tiers_add_to_it():
    """Every candidate beyond the measured hundred costs each service; tiers cost ranking alone."""
    load = replace(LOAD, candidates=200, pairs=20.0, late_candidates=100.0)
    assert core_ms_of(COSTS, load, "gateway") == pytest.approx(3.5 + 1.0)
    assert core_ms_of(COSTS, load, "ranking") == pytest.approx(4.5 + 3.0 + 30.0 + 2.0)


def test_pods_have_time_for_the_calls_and_one_is_to_spare():
    """A gateway has one core: 600 calls of 3.5 core-ms on 60 % of a core need four; retrieval's have four cores."""
    plan = pods_for(COSTS, LOAD)
    assert plan["gateway"].pods == 4 + 1
    assert (plan["retrieval"].pods, plan["retrieval"].cores) == (1 + 1, 8)
    assert pods_for(COSTS, replace(LOAD, cpu_factor=2.0))["gateway"].pods == 7 + 1


def test_a_pod_holds_three_releases_while_it_takes_a_new_one():
    """Memory grows with the items; that of the gateway does not."""
    plan = pods_for(COSTS, replace(LOAD, items_factor=10.0))
    assert plan["retrieval"].memory_mb == pytest.approx(200.0 + 3 * 300.0 * 10)
    assert plan["gateway"].memory_mb == 200.0


def test_the_price_is_that_of_cores_and_memory():
    """Two pods of four cores and 1.1 GB for 730 hours."""
    month = pods_for(COSTS, LOAD)["retrieval"].month
    assert month == pytest.approx(2 * (4 * 0.04 + 1.1 * 0.005) * 730)


def test_a_machine_is_saturated_when_its_cores_are_used():
    """By all three servers, and by a client on the same machine."""
    assert saturation_per_s(COSTS, LOAD, cores=2) == pytest.approx(2_000 / (3.5 + 4.0 + 4.5))
    assert saturation_per_s(COSTS, LOAD, cores=2, client_ms=8.0) == pytest.approx(2_000 / 20.0)
