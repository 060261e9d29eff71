"""The result of a gate: figures by occasion, and the reasons to refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.arrays import Float64Array
from pipeline.measurement.metrics.estimates import Difference, Estimate, ResultModel
from pipeline.measurement.questions.answers import BOTH, FIRST, POPULAR

CURRENT: Final = "current release"
ALL: Final = "all together"
_SIGNIFICANCE: Final = 0.05
# Fewer requests make no useful interval.
MIN_REQUESTS: Final = 30
_SYSTEMS: Final = (POPULAR, FIRST, BOTH, CURRENT)


class OccasionResult(ResultModel):
    """The figures of one occasion.

    Attributes:
        requests: Number of requests.
        ndcg: NDCG@10 of each system.
        over: Two stages minus the first stage, and minus the current release if there is one.
    """

    requests: int
    ndcg: dict[str, Estimate]
    over: dict[str, Difference]


class GateResult(ResultModel):
    """What the gate found.

    Attributes:
        origin: Where the requests come from.
        current: Id of the current release; empty if there is none to compare with.
        occasions: Figures by occasion, then of all together.
        spreads: By occasion and model, the median difference between the highest and the lowest score of a request's
            candidates.
        faults: Why the release should not become the current one, one sentence each; empty if it may.
        notes: What a reader should know, one sentence each.
    """

    origin: str
    current: str = ""
    occasions: dict[str, OccasionResult]
    spreads: dict[str, dict[str, float]] = Field(default_factory=dict)
    faults: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


def occasion_results(scores: Mapping[str, Mapping[str, Float64Array]], seed: int) -> dict[str, OccasionResult]:
    """Return the figures of each occasion, and of all together if there are several.

    Args:
        scores: NDCG@10 by occasion and system, each float64[requests].
        seed: Seed of the intervals.
    """
    results = {occasion: _result(of_systems, seed) for occasion, of_systems in scores.items()}
    if len(scores) > 1:
        systems = next(iter(scores.values()))
        pooled = {name: np.concatenate([one[name] for one in scores.values()]) for name in systems}
        results[ALL] = _result(pooled, seed)
    return results


def lost_occasions(results: Mapping[str, OccasionResult]) -> list[str]:
    """Return a sentence for each comparison that two stages lose beyond the 95 % interval.

    Of several occasions together, one in twenty equal releases should lose one: each occasion's p-value is compared
    with 0.05 divided by their number (Bonferroni).
    """
    judged = {name: one for name, one in results.items() if one.requests >= MIN_REQUESTS}
    parts = max(1, len(judged.keys() - {ALL}))
    faults = []
    for name, one in judged.items():
        for other, gain in one.over.items():
            if gain.high < 0 and (name == ALL or gain.p < _SIGNIFICANCE / parts):
                faults.append(f"{name}: two stages lose to the {_named(other)}: NDCG@10 {interval(gain)}")
    return faults


def gate_table(result: GateResult) -> Table:
    """Return the figures as a table."""
    table = Table(
        title=f"NDCG@10 by occasion: {result.origin}",
        caption="two stages minus the other: mean [95 % interval], paired; the gate judges occasions with at least "
        f"{MIN_REQUESTS} requests",
    )
    shown = [name for name in _SYSTEMS if any(name in one.ndcg for one in result.occasions.values())]
    compared = [name for name in (FIRST, CURRENT) if name in shown]
    for column in ("", "requests", *shown, *(f"over {_named(name)}" for name in compared)):
        table.add_column(column, justify="left" if not column else "right")
    for name, one in result.occasions.items():
        means = [f"{one.ndcg[system].mean:.4f}" for system in shown]
        table.add_row(name, str(one.requests), *means, *(interval(one.over[other]) for other in compared))
    return table


def print_gate(result: GateResult, console: Console) -> None:
    """Print the table, the notes and the verdict."""
    console.print(gate_table(result))
    for note in result.notes:
        console.print(note, highlight=False)
    for fault in result.faults:
        console.print(f"[red]refused:[/] {escape(fault)}", highlight=False)


def interval(gain: Difference) -> str:
    """Return a difference with its interval as text."""
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"


def _named(system: str) -> str:
    return "first stage" if system == FIRST else system


def _result(scores: Mapping[str, Float64Array], seed: int) -> OccasionResult:
    two = scores[BOTH]
    return OccasionResult(
        requests=len(two),
        ndcg={name: Estimate.from_scores(values, seed) for name, values in scores.items()},
        over={name: Difference.between(two, scores[name], seed) for name in (FIRST, CURRENT) if name in scores},
    )
