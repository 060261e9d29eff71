"""Which figures of an evaluation each chart of the report shows; the templates call these functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from pipeline.evaluation.report import charts
from pipeline.evaluation.report.charts import IntervalRow, StepSeries
from pipeline.evaluation.report.formatting import measure_name
from pipeline.measurement.metrics.baseline_result import BaselineComparison, DemandBin
from pipeline.measurement.metrics.calibration import CalibrationBin
from pipeline.measurement.metrics.evaluation_result import (
    Ablation,
    CrossValidation,
    DepthResult,
    Evaluation,
    Slice,
    SourceContribution,
)
from pipeline.measurement.metrics.item_popularity import BANDS
from pipeline.measurement.metrics.learning_curve import LearningCurve
from pipeline.measurement.questions.answers import BOTH, FIRST, POPULAR

MODE_CLASSES: Final = {POPULAR: "popular", FIRST: "first", BOTH: "both"}
SALES: Final = "purchases"
_INTERVAL: Final = "mean and 95 % interval"
_Part = TypeVar("_Part", SourceContribution, Ablation)


def quality(evaluation: Evaluation, measure: str) -> str:
    """Draw a measure of each mode."""
    rows = [
        IntervalRow(name, MODE_CLASSES[name], mode.measures[measure], f"{name}, {measure_name(measure)}")
        for name, mode in evaluation.modes.items()
    ]
    return charts.intervals(rows, _INTERVAL, width=500)


def baselines(result: BaselineComparison) -> str:
    """Draw NDCG@10 of each single method and of the two stages."""
    rows = [
        IntervalRow(f"{name} (best)" if name == result.best else name, "popular", figures.measures["ndcg@10"], name)
        for name, figures in result.by_name.items()
    ]
    return charts.intervals([*rows, IntervalRow(BOTH, "both", result.two_stages["ndcg@10"], BOTH)], _INTERVAL)


def latency(evaluation: Evaluation) -> str:
    """Draw NDCG@10 of each mode against its median latency."""
    points = [
        (name, MODE_CLASSES[name], mode.latency["total"].p50, mode.measures["ndcg@10"])
        for name, mode in evaluation.modes.items()
    ]
    return charts.scatter(points, "median milliseconds", "NDCG@10")


def calibration(bins: Sequence[CalibrationBin]) -> str:
    """Draw predicted probabilities against outcomes."""
    return charts.calibration(bins)


def demand(bins: Sequence[DemandBin]) -> str:
    """Draw expected demand against sales."""
    return charts.demand(bins)


def concentration(evaluation: Evaluation) -> str:
    """Draw the concentration of each mode's recommendations, and of sales."""
    series = {name: (MODE_CLASSES[name], mode.concentration) for name, mode in evaluation.modes.items()}
    series[SALES] = ("sales", evaluation.sales)
    return charts.lorenz_curves(series, "items, least popular first", "share of the first ten")


def bands(evaluation: Evaluation) -> str:
    """Draw the share of head, middle and tail in each mode's first ten."""
    return charts.stacked_bars({name: mode.shares for name, mode in evaluation.modes.items()}, BANDS, width=520)


def by_loss(parts: Mapping[str, _Part], measure: str) -> dict[str, _Part]:
    """Return parts by name, the one whose absence costs most first."""
    return dict(sorted(parts.items(), key=lambda item: -item[1].loss[measure].mean))


def losses(parts: Mapping[str, SourceContribution] | Mapping[str, Ablation], measure: str) -> str:
    """Draw what the absence of each part costs in a measure."""
    rows = [IntervalRow(name, "both", part.loss[measure], f"lost without {name}") for name, part in parts.items()]
    return charts.intervals(rows, "paired difference", width=500, zero=True)


def depths(results: Sequence[DepthResult], measure: str) -> str:
    """Draw a measure against latency, a dot for each depth."""
    points = [(str(depth.cross_encoder_depth), "both", depth.latency.p50, depth.measures[measure]) for depth in results]
    return charts.scatter(points, "median milliseconds", measure_name(measure))


def loss_series(curve: LearningCurve) -> dict[str, StepSeries]:
    """Return the losses that a training recorded, each with its CSS class."""
    series: dict[str, StepSeries] = {"training": ("first", curve.loss), "validation": ("both", curve.valid_loss)}
    return {name: (kind, points) for name, (kind, points) in series.items() if points}


def series_classes(series: Mapping[str, StepSeries]) -> dict[str, str]:
    """Return the CSS class of each series."""
    return {name: kind for name, (kind, _) in series.items()}


def step_curves(series: Mapping[str, StepSeries], label: str) -> str:
    """Draw series by training step."""
    return charts.step_curves(series, label)


def slices(members: Sequence[Slice], measure: str) -> str:
    """Draw a measure of each mode in each slice."""
    rows = [
        IntervalRow(
            f"{part.name} ({part.questions:,})" if not number else "",
            MODE_CLASSES[mode],
            values[measure],
            f"{part.name}, {mode}",
        )
        for part in members
        for number, (mode, values) in enumerate(part.modes.items())
    ]
    return charts.intervals(rows, _INTERVAL, width=500)


def folds(result: CrossValidation) -> str:
    """Draw the cross-validated measure of each order."""
    classes = dict(zip(result.learned, MODE_CLASSES.values(), strict=True))
    rows = [IntervalRow(name, classes[name], estimate, name) for name, estimate in result.overall.items()]
    return charts.intervals(rows, _INTERVAL)
