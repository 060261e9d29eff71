"""Estimates what a release would be worth from a log, or says why the log cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from common.errors import InvalidRequest
from pipeline.data.impressions.log_reader import ImpressionTables
from pipeline.data.impressions.position_bias import PositionBias, estimate_position_bias
from pipeline.off_policy.estimators import (
    LoggedSlots,
    ValueEstimate,
    doubly_robust,
    effective_sample_size,
    inverse_propensity,
    logged_value,
    mean_weight,
    self_normalised,
)
from pipeline.off_policy.reward_model import RewardModel, half_of

# Below these, an estimate would rest on what was hardly ever shown.
_MIN_SUPPORT: Final = 0.95
_MIN_EFFECTIVE: Final = 50.0


class OffPolicyResult(BaseModel):
    """What a release would be worth.

    Attributes:
        reward: The kind of event that is counted.
        answers: How many logged answers it is estimated from.
        users: How many users they are of.
        logged: The reward per answer that was got.
        estimates: The reward per answer that the release would get, by estimator; empty if there are faults.
        effective_sample_size: How many answers of the release itself would say as much.
        support: Share of the positions of the release's answers that the log could have shown.
        agreement: Share of positions with the logged item.
        left_out: How many logged answers cannot be used, by reason.
        faults: Why there is no estimate, one sentence each.
    """

    model_config = ConfigDict(frozen=True)

    reward: str
    answers: int
    users: int
    logged: ValueEstimate
    estimates: dict[str, ValueEstimate]
    effective_sample_size: float
    support: float
    agreement: float
    left_out: dict[str, int]
    faults: list[str]


@dataclass(frozen=True, eq=False)
class UsableAnswers:
    """Logged answers that estimates can use, and how many cannot be, by reason."""

    answers: pl.DataFrame
    left_out: dict[str, int]


def usable_answers(tables: ImpressionTables, max_answers: int) -> UsableAnswers:
    """Return the latest answers of both stages with random positions.

    Raises:
        InvalidRequest: There is none.
    """
    rest, left_out = tables.answers, {}
    reasons = {
        "no random positions": pl.col("propensities").list.len() == 0,
        "an item in a rule's slot, where nothing else can be shown": pl.col("items")
        .list.set_difference("pool")
        .list.len()
        > 0,
        "a filter, which the log does not have": pl.col("filtered"),
        "not of both stages": (pl.col("stages") != "both") | (pl.col("degradations").list.len() > 0),
    }
    for reason, applies in reasons.items():
        left_out[reason] = rest.filter(applies).height
        rest = rest.filter(~applies)
    if rest.is_empty():
        raise InvalidRequest(
            f"none of {tables.answers.height:,} logged answers has random positions; serve with --exploration-share 0.1"
        )
    left_out["older"] = max(0, rest.height - max_answers)
    return UsableAnswers(rest.tail(max_answers), left_out)


def estimate_value(
    tables: ImpressionTables, usable: UsableAnswers, targets: Sequence[Sequence[str]], reward: str
) -> OffPolicyResult:
    """Estimate the reward per answer of a policy.

    Args:
        tables: The log.
        usable: The answers to estimate from.
        targets: What the policy would show for each of them.
        reward: The kind of event that counts, once for each item of an answer.
    """
    slots = tables.rewarded_slots(reward)
    bias = estimate_position_bias(slots)
    kept = slots.join(usable.answers.select("request_id"), on="request_id", how="semi", maintain_order="left")
    compared, supported = _compare(kept, usable.answers, targets, bias)
    positions = usable.answers["items"].list.len().to_numpy()
    support = float(supported.sum() / positions.sum())
    effective = effective_sample_size(compared)
    faults = _faults(compared, supported, support, effective)
    estimators = {"IPS": inverse_propensity, "SNIPS": self_normalised, "DR": doubly_robust}
    return OffPolicyResult(
        reward=reward,
        answers=compared.answers,
        users=int(compared.user.max()) + 1,
        logged=logged_value(compared),
        estimates={} if faults else {name: estimator(compared) for name, estimator in estimators.items()},
        effective_sample_size=effective,
        support=support,
        agreement=float(compared.matches.mean()),
        left_out={reason: count for reason, count in usable.left_out.items() if count},
        faults=faults,
    )


def _compare(
    slots: pl.DataFrame, answers: pl.DataFrame, targets: Sequence[Sequence[str]], bias: PositionBias
) -> tuple[LoggedSlots, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return the slots against the targets, and how many positions of each target the log could have shown."""
    # An answer without a user is a user of its own.
    users = [user or f"\0{request_id}" for user, request_id in answers.select("user", "request_id").iter_rows()]
    halves = [half_of(user) for user in users]
    of_request = dict(zip(answers["request_id"], range(answers.height), strict=True))
    answer = np.array([of_request[request_id] for request_id in slots["request_id"]], np.int64)
    place = slots["position"].to_numpy().astype(np.int64) - 1
    in_half = np.array(halves)[answer]
    models = [RewardModel.fit(slots.filter(pl.Series(in_half != half)), bias) for half in (0, 1)]
    items, shown_items = slots["item"].to_list(), answers["items"].to_list()
    predicted = [models[half].predict(shown) for half, shown in zip(halves, shown_items, strict=True)]
    compared = LoggedSlots(
        answer=answer,
        position=place,
        propensity=slots["propensity"].to_numpy().astype(np.float64),
        reward=slots["reward"].to_numpy().astype(np.float64),
        matches=np.array(
            [
                at < len(targets[of]) and targets[of][at] == item
                for of, at, item in zip(answer, place, items, strict=True)
            ],
            np.bool_,
        ),
        predicted_shown=np.array([predicted[of][at] for of, at in zip(answer, place, strict=True)], np.float64),
        predicted_target=np.array(
            [models[half].predict(target).sum() for half, target in zip(halves, targets, strict=True)], np.float64
        ),
        user=np.unique(np.array(users), return_inverse=True)[1].astype(np.int64),
    )
    pools = (set(pool) for pool in answers["pool"])
    supported = [sum(item in pool for item in target) for target, pool in zip(targets, pools, strict=True)]
    return compared, np.array(supported, np.float64)


def _faults(
    slots: LoggedSlots, supported: np.ndarray[tuple[int], np.dtype[np.float64]], support: float, effective: float
) -> list[str]:
    faults = []
    if support < _MIN_SUPPORT:
        faults.append(
            f"The log could have shown {support:.0%} of what the release would show, less than {_MIN_SUPPORT:.0%}: "
            "raise --exploration-candidates of the gateway, or judge the release's order of the logged candidates "
            "alone with --within-pool."
        )
    if effective < _MIN_EFFECTIVE:
        faults.append(
            f"At its rarest position the log says as much as {effective:.0f} answers of the release, less than "
            f"{_MIN_EFFECTIVE:.0f}: log for longer, or raise --exploration-share of the gateway."
        )
    excess = mean_weight(slots, supported)
    four_errors = excess.high - excess.low  # beyond them, one log in ten thousand lies by chance
    if abs(excess.value) > max(four_errors, 1e-9):
        faults.append(
            f"Weights are {excess.value:+.3f} an answer away from what the propensities say: records were lost, or the "
            "propensities are not those of what was shown."
        )
    return faults


def print_result(result: OffPolicyResult, console: Console) -> None:
    """Print the estimates, or why there are none."""
    table = Table("policy", f"{result.reward}s an answer", "95 % interval", title="Estimated before it is served")
    rows = {"served, as logged": result.logged} | {f"release, {name}": of for name, of in result.estimates.items()}
    for name, of in rows.items():
        table.add_row(name, f"{of.value:.4f}", f"{of.low:.4f} to {of.high:.4f}")
    console.print(table)
    console.print(
        f"{result.answers:,} answers of {result.users:,} users; "
        f"effective sample size {result.effective_sample_size:,.0f}; "
        f"support {result.support:.1%}; the same item at {result.agreement:.1%} of the positions",
        highlight=False,
    )
    for reason, count in result.left_out.items():
        console.print(f"{count:,} answers left out: {reason}", highlight=False)
    for fault in result.faults:
        console.print(f"[red]no estimate:[/] {fault}", highlight=False)
