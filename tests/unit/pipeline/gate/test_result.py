"""The verdict of a gate."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from common.arrays import Float64Array
from pipeline.gate.result import ALL, CURRENT, MIN_REQUESTS, GateResult, lost_occasions, occasion_results, print_gate
from pipeline.measurement.questions.answers import BOTH, FIRST, POPULAR


def scores_of(two: Float64Array, first: Float64Array, current: Float64Array | None = None) -> dict[str, Float64Array]:
    given = {POPULAR: np.zeros(len(two)), FIRST: first, BOTH: two}
    return given if current is None else {**given, CURRENT: current}


def test_two_stages_that_lose_to_the_first_are_refused():
    """A loss on every request of an occasion is named, and so is that of all together; a gain is not."""
    worse, better = np.full(60, 0.2), np.full(60, 0.5)
    found = lost_occasions(
        occasion_results({"history": scores_of(worse, better), "query": scores_of(better, better)}, seed=1)
    )
    assert [fault.partition(":")[0] for fault in found] == ["history", ALL]
    assert "lose to the first stage: NDCG@10 -0.3000" in found[0]
    assert lost_occasions(occasion_results({"history": scores_of(better, worse)}, seed=1)) == []


def test_a_loss_to_the_current_release_is_refused():
    """A release that beats its own first stage may still be worse than what is served."""
    draws = np.random.default_rng(3).random(80)
    results = occasion_results({"history": scores_of(draws * 0.5, draws * 0.4, draws)}, seed=1)
    assert [fault.partition(":")[0] for fault in lost_occasions(results)] == ["history"]
    assert "current release" in lost_occasions(results)[0]


def test_few_requests_and_noise_refuse_nothing():
    """Below the least number of requests nothing is judged; differences within the interval pass."""
    few = scores_of(np.zeros(MIN_REQUESTS - 1), np.ones(MIN_REQUESTS - 1))
    assert lost_occasions(occasion_results({"history": few}, seed=1)) == []
    generator = np.random.default_rng(5)
    base = generator.random(100)
    noisy = scores_of(base + generator.normal(0, 0.1, 100), base)
    assert lost_occasions(occasion_results({"history": noisy}, seed=1)) == []


def test_one_of_many_occasions_needs_a_clearer_loss_than_one_alone():
    """The bound is shared among occasions, so that many of them refuse no more equal releases than one does."""
    generator = np.random.default_rng(11)
    base, none = generator.random(100), np.zeros(100)
    for shift in np.linspace(0.01, 0.05, 41):
        slightly = scores_of(base + generator.normal(-shift, 0.1, 100), base)
        alone = occasion_results({"history": slightly}, seed=1)
        if 0.02 < alone["history"].over[FIRST].p < 0.04 and lost_occasions(alone):
            break
    else:
        pytest.fail("no draw is slightly significant")
    equal = {name: scores_of(none, none) for name in ("query", "both", "new user", "new items")}
    together = occasion_results({"history": slightly, **equal}, seed=1)
    assert [fault for fault in lost_occasions(together) if fault.startswith("history")] == []


def test_the_table_has_every_occasion_and_the_reasons():
    """Each occasion is a row with both differences; notes and faults follow."""
    console = Console(record=True, width=200)
    results = occasion_results({"history": scores_of(np.zeros(40), np.ones(40), np.ones(40))}, seed=1)
    faults = lost_occasions(results)
    print_gate(
        GateResult(origin="a test", current="abc", occasions=results, faults=faults, notes=["so it is"]), console
    )
    text = console.export_text()
    assert "over current release" in text
    assert "-1.0000 [-1.0000, -1.0000]" in text
    assert "so it is" in text
    assert text.count("refused:") == len(faults) == 2
