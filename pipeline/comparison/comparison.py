"""What each variant of an experiment brings, compared with the control.

The unit is the user: a user's value is the mean reward of the user's answers. Where users have history from before the
experiment, its part in the values is taken away (CUPED; Deng et al., "Improving the sensitivity of online controlled
experiments by utilizing pre-experiment data", WSDM 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table
from scipy.stats import chisquare

from common.errors import InvalidRequest
from pipeline.comparison.sequential_test import SequentialDifference, compare_means
from pipeline.data.impressions.log_reader import ImpressionTables

SLICES: Final = ("occasion", "placement", "release")
_MIN_USERS: Final = 20
# Users are split by hash: a split that is this unlikely is a fault of the experiment, not chance.
_SPLIT_ALPHA: Final = 0.001
_ALL: Final = "all"


class VariantResult(BaseModel):
    """The figures of a variant, and its difference from the control; None for the control itself.

    Attributes:
        users: Its users.
        answers: Their answers.
        reward: The mean over users of the reward of an answer.
        degraded: Share of degraded answers.
        p95_ms: 95th percentile of latency.
        difference: The reward minus the control's, after CUPED.
    """

    model_config = ConfigDict(frozen=True)

    users: int
    answers: int
    reward: float
    degraded: float
    p95_ms: float
    difference: SequentialDifference | None


class ComparisonResult(BaseModel):
    """An experiment's variants, whole and by slice.

    Attributes:
        experiment: The experiment.
        control: The variant that the others are compared with.
        reward: The kind of event that counts.
        slices: The variants by slice; `all` first.
        variance_left: Share of the variance that CUPED leaves; 1 if there is no history.
        notes: What was left out, and faults of the split.
    """

    model_config = ConfigDict(frozen=True)

    experiment: str
    control: str
    reward: str
    slices: dict[str, dict[str, VariantResult]]
    variance_left: float
    notes: list[str]


def compare_variants(
    tables: ImpressionTables,
    experiment: str,
    control: str,
    reward: str,
    *,
    by: Sequence[str] = (),
    effect: float = 0.05,
    weights: dict[str, float] | None = None,
) -> ComparisonResult:
    """Compare the variants of an experiment with its control.

    Args:
        tables: The log.
        experiment: Its name.
        control: The control's name.
        reward: The kind of event that counts, once for each item of an answer.
        by: Columns of SLICES to compare within.
        effect: The relative effect that one expects; the control's reward times it is the test's mixture.
        weights: The variants' weights, to check the split of users; None leaves that out.

    Raises:
        InvalidRequest: The log has no such experiment or control, or too few users.
    """
    assigned, moved = _assigned(tables, experiment)
    answers = assigned.filter(~pl.col("stopped"))
    names = sorted(set(answers["variant"]) - {control})
    if control not in set(answers["variant"]) or not names:
        found = ", ".join(sorted(set(answers["variant"]))) or "none"
        raise InvalidRequest(
            f"{experiment}: the log needs answers of {control!r} and of another variant; it has {found}"
        )
    rewarded = _with_rewards(answers, tables, reward)
    users, left = _cuped(_by_user(rewarded), tables, reward)
    notes = tables.left_out()
    if stopped := assigned.height - answers.height:
        notes.append(f"{stopped:,} answers of stopped variants were left out.")
    if moved:
        notes.append(f"{moved:,} users had more than one variant and were left out: the file or its salt changed.")
    notes += _split_faults(assigned, weights)
    slices = {_ALL: _compare(rewarded, users, [control, *names], effect)}
    for column in by:
        for (value,), part in rewarded.partition_by(column, as_dict=True).items():
            within = _by_user(part).with_columns(pl.col("value").alias("adjusted"))
            slices[f"{column} {value or '(none)'}"] = _compare(part, within, [control, *names], effect)
    return ComparisonResult(
        experiment=experiment, control=control, reward=reward, slices=slices, variance_left=left, notes=notes
    )


def _assigned(tables: ImpressionTables, experiment: str) -> tuple[pl.DataFrame, int]:
    """Return the answers of an experiment with `variant` and `stopped`, and how many users had several variants."""
    own = [next((each for each in variants if each[0] == experiment), None) for variants in tables.answers["variants"]]
    marked = tables.answers.drop("variants").with_columns(
        pl.Series("variant", [each and each[1] for each in own], pl.String()),
        pl.Series("stopped", [bool(each and each[2]) for each in own], pl.Boolean()),
    )
    inside = marked.filter(pl.col("variant").is_not_null() & (pl.col("user") != ""))
    has_one = pl.col("variant").n_unique().over("user") == 1
    return inside.filter(has_one), inside.filter(~has_one)["user"].n_unique()


def _with_rewards(answers: pl.DataFrame, tables: ImpressionTables, reward: str) -> pl.DataFrame:
    by_answer = tables.rewarded_slots(reward).group_by("request_id").agg(pl.col("reward").sum())
    joined = answers.join(by_answer, on="request_id", how="left", maintain_order="left")
    return joined.with_columns(
        pl.col("reward").fill_null(0.0), (pl.col("degradations").list.len() > 0).alias("degraded")
    )


def _by_user(rewarded: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each user: `user`, `variant`, `value` and `began_us`."""
    return (
        rewarded.group_by("user", maintain_order=True)
        .agg(pl.col("variant").first(), pl.col("reward").mean().alias("value"), pl.col("at_us").min().alias("began_us"))
        .sort("user")
    )


def _cuped(users: pl.DataFrame, tables: ImpressionTables, reward: str) -> tuple[pl.DataFrame, float]:
    """Return users with `adjusted` values, and the share of the variance that is left.

    The covariate is the number of the user's events of the kind before the first answer of the experiment.
    """
    before = (
        tables.events.filter(pl.col("kind") == reward)
        .join(users.select("user", "began_us"), on="user")
        .filter(pl.col("at_us") < pl.col("began_us"))
        .group_by("user")
        .agg(pl.len().alias("before"))
    )
    joined = users.join(before, on="user", how="left", maintain_order="left").with_columns(
        pl.col("before").fill_null(0).cast(pl.Float64)
    )
    value, history = joined["value"].to_numpy(), joined["before"].to_numpy()
    if history.var() == 0 or value.var() == 0:
        return joined.with_columns(pl.col("value").alias("adjusted")), 1.0
    slope = float(((value - value.mean()) * (history - history.mean())).mean() / history.var())
    adjusted = value - slope * (history - history.mean())
    return joined.with_columns(pl.Series("adjusted", adjusted)), float(adjusted.var() / value.var())


def _compare(
    rewarded: pl.DataFrame, users: pl.DataFrame, names: Sequence[str], effect: float
) -> dict[str, VariantResult]:
    control = users.filter(pl.col("variant") == names[0])
    expected = effect * (abs(_mean(control["value"])) if control.height else 0.0) or effect
    results = {}
    for name in names:
        own, answers = users.filter(pl.col("variant") == name), rewarded.filter(pl.col("variant") == name)
        if own.is_empty():
            continue
        enough = name != names[0] and min(own.height, control.height) >= _MIN_USERS
        results[name] = VariantResult(
            users=own.height,
            answers=answers.height,
            reward=_mean(own["value"]),
            degraded=_mean(answers["degraded"]),
            p95_ms=float(answers["total_ms"].quantile(0.95) or 0.0),
            difference=compare_means(control["adjusted"].to_numpy(), own["adjusted"].to_numpy(), expected)
            if enough
            else None,
        )
    return results


def _mean(values: pl.Series) -> float:
    return float(values.to_numpy().mean())


def _split_faults(assigned: pl.DataFrame, weights: dict[str, float] | None) -> list[str]:
    """Return a sentence if users are not split as the weights say (sample ratio mismatch).

    Users of a stopped variant count: they were assigned it as the others were.
    """
    if weights is None:
        return []
    counts = dict(assigned.unique("user")["variant"].value_counts().iter_rows())
    found = [counts.get(name, 0) for name in weights]
    total = sum(weights.values())
    p = float(chisquare(found, [sum(found) * weight / total for weight in weights.values()]).pvalue)
    if p >= _SPLIT_ALPHA:
        return []
    split = ", ".join(f"{name} {count:,}" for name, count in zip(weights, found, strict=True))
    return [f"Users are not split as the weights say ({split}; p = {p:.1e}): records were lost, or the file changed."]


def print_comparison(result: ComparisonResult, console: Console) -> None:
    """Print one table for each slice."""
    for name, variants in result.slices.items():
        table = Table("variant", "users", "answers", f"{result.reward}s an answer", "difference", "95 % interval", "p")
        table.add_column("degraded")
        table.add_column("p95 ms")
        table.title = f"{result.experiment}: {name}"
        for variant, of in variants.items():
            found = of.difference
            compared: tuple[str, ...] = ("", "", "")
            if found is not None:
                compared = (f"{found.difference:+.4f}", f"{found.low:+.4f} to {found.high:+.4f}", f"{found.p:.3g}")
            counts = (f"{of.users:,}", f"{of.answers:,}", f"{of.reward:.4f}")
            table.add_row(variant, *counts, *compared, f"{of.degraded:.1%}", f"{of.p95_ms:.0f}")
        console.print(table)
    console.print(
        "Intervals and p-values hold at whatever time one looks. "
        f"History explains {1 - result.variance_left:.0%} of the variance (CUPED). "
        "Slices are not corrected for their number.",
        highlight=False,
    )
    for note in result.notes:
        console.print(f"[yellow]{note}[/]", highlight=False)
