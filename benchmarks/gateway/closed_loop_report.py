"""What the closed loop is reported by: true rewards by round, their differences, and off-policy estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.harness.record import Result, at_least, at_most
from pipeline.measurement.metrics.ranking_metrics import paired_bootstrap
from pipeline.off_policy.estimation import OffPolicyResult
from testing.online.simulated_shop import SimulatedShop


@dataclass
class Choice:
    """A choice of a user at a time, in seconds since 1970."""

    user: int
    item: str
    at_s: float


@dataclass
class Arm:
    """One shop: its folder, random share, choices so far, and the true reward of each release by user."""

    name: str
    folder: Path
    share: float = 0.0
    choices: list[Choice] = field(default_factory=list)
    rewards: list[np.ndarray[Any, np.dtype[np.float64]]] = field(default_factory=list)


def loop_result(
    shop: SimulatedShop, arms: Sequence[Arm], estimated: OffPolicyResult, truth: float, seconds: float
) -> Result:
    """Return the figures, thresholds and tables.

    Args:
        shop: The shop.
        arms: The loop, then the shops to compare it with, the one fed by popular items last; with the true reward of
            each release by user.
        estimated: The estimate of the loop's last release before it is served.
        truth: What that release truly gets.
        seconds: How long everything took.
    """
    best, count = shop.best_reward(), len(arms[0].rewards)
    rounds = Table("shop", *(["first release"] + [f"round {number}" for number in range(1, count)]))
    rounds.title = f"True reward of an answer; {best:.3f} if every user saw what attracts that user most"
    figures: dict[str, Any] = {"best": best, "seconds": seconds, "users": shop.users}
    for arm in arms:
        means = [float(rewards.mean()) for rewards in arm.rewards]
        blanks = [""] * (count - len(means))
        rounds.add_row(arm.name, f"{means[0]:.3f}", *blanks, *(f"{mean:.3f}" for mean in means[1:]))
        figures[f"true reward, {arm.name}"] = means
    loop = arms[0].rewards[-1]
    gains = {
        "third round minus first round": paired_bootstrap(loop, arms[0].rewards[1], seed=7),
    } | {f"loop minus {arm.name}": paired_bootstrap(loop, arm.rewards[-1], seed=7) for arm in arms[1:]}
    compared = Table("difference of true rewards", "mean", "95 % interval over users")
    for name, gain in gains.items():
        compared.add_row(name, f"{gain.mean:+.3f}", f"{gain.low:+.3f} to {gain.high:+.3f}")
        figures[name] = {"mean": gain.mean, "low": gain.low, "high": gain.high}
    off_policy, errors = _estimates_table(estimated, truth)
    figures |= {"off-policy": estimated.model_dump(mode="json"), "truth": truth, "errors": errors}
    thresholds = [
        at_least("third round minus first round, lower end", 0.0, gains["third round minus first round"].low),
        at_least("loop minus popularity-fed, lower end", 0.0, gains["loop minus popularity-fed"].low),
        at_most("doubly robust estimate, relative error", 0.1, errors.get("DR", 1.0)),
    ]
    return Result(figures, thresholds, [rounds, compared, off_policy])


def _estimates_table(estimated: OffPolicyResult, truth: float) -> tuple[Table, dict[str, float]]:
    table = Table("estimator", "views an answer", "95 % interval", "relative error")
    table.title = f"The last release before it is served; truly {truth:.3f}"
    errors = {name: abs(of.value - truth) / truth for name, of in estimated.estimates.items()}
    for name, of in estimated.estimates.items():
        table.add_row(name, f"{of.value:.3f}", f"{of.low:.3f} to {of.high:.3f}", f"{errors[name]:.1%}")
    for fault in estimated.faults:
        table.add_row("none", fault, "", "")
    return table, errors
