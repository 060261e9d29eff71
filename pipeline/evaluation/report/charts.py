"""The report's charts, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.evaluation.report.svg import Scale, axis_below, axis_left, box, dot, line, path, picture, short, text
from pipeline.measurement.metrics.baseline_result import DemandBin
from pipeline.measurement.metrics.calibration import CalibrationBin
from pipeline.measurement.metrics.estimates import Estimate

_ROW: Final = 24
_SQUARE: Final = 420
_ROOT_TICKS: Final = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
_DEMAND_TICKS: Final = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0)
_LABEL: Final = 190
_STEP_WIDTH: Final = 460
_STEP_HEIGHT: Final = 300
StepSeries = tuple[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class IntervalRow:
    """A row of an interval chart.

    Attributes:
        label: Label of the row; empty if it continues the row above.
        kind: CSS class of the colour.
        estimate: Mean and interval.
        tooltip: Text of the tooltip before the figures.
    """

    label: str
    kind: str
    estimate: Estimate
    tooltip: str


def intervals(rows: Sequence[IntervalRow], label: str, *, width: int = 640, zero: bool = False) -> str:
    """Draw estimates with their intervals, one below the other; ``zero`` draws a line at 0."""
    low = min(0.0, *(row.estimate.low for row in rows)) if zero else 0.0
    high = max(*(row.estimate.high for row in rows), 1e-6, 0.0)
    scale = Scale(low * 1.05, high * 1.05, _LABEL, width - 60)
    bottom = _ROW * len(rows) + 14
    parts = axis_below(scale, bottom, 6, label)
    if zero:
        parts.append(line(scale(0.0), 6, scale(0.0), bottom, "zero"))
    for number, row in enumerate(rows):
        parts += _interval(row, scale, 20 + number * _ROW, width)
    return picture(width, bottom + 42, parts, label)


def _interval(row: IntervalRow, scale: Scale, y: float, width: int) -> list[str]:
    estimate = row.estimate
    tooltip = f"{row.tooltip}: {estimate.mean:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"
    return [
        text(_LABEL - 12, y + 4, row.label, "l", "end"),
        line(scale(estimate.low), y, scale(estimate.high), y, f"w {row.kind}"),
        dot(scale(estimate.mean), y, f"f {row.kind}", tooltip),
        text(width - 4, y + 4, f"{estimate.mean:.3f}", "n", "end"),
    ]


def calibration(bins: Sequence[CalibrationBin]) -> str:
    """Draw predicted against observed probability, with intervals; both axes are square roots, since most are small."""
    top = min(1.0, max(max(part.high, part.predicted) for part in bins) * 1.05)
    ticks = [tick for tick in _ROOT_TICKS if tick <= top]
    across = Scale(0.0, top, 60, _SQUARE - 20, math.sqrt)
    up = Scale(0.0, top, _SQUARE - 50, 34, math.sqrt)
    parts = [
        *axis_below(across, _SQUARE - 50, 34, "predicted probability", ticks),
        *axis_left(up, 60, _SQUARE - 20, "share of relevant candidates", ticks),
        path([(across(0.0), up(0.0)), (across(top), up(top))], "zero"),
    ]
    for part in bins:
        tooltip = f"predicted {part.predicted:.4f}, observed {part.observed:.4f} [{part.low:.4f}, {part.high:.4f}]"
        tooltip += f" of {part.candidates:,} candidates"
        x = across(part.predicted)
        parts += [line(x, up(part.low), x, up(part.high), "w both"), dot(x, up(part.observed), "f both", tooltip)]
    return picture(
        _SQUARE, _SQUARE, parts, "Calibration: predicted probability against the share of relevant candidates"
    )


def demand(bins: Sequence[DemandBin]) -> str:
    """Draw expected demand against sales, a dot for each bin; both axes are log(1 + x), since most values are small."""
    top = max(max(part.expected, part.sold) for part in bins) * 1.1
    ticks = [tick for tick in _DEMAND_TICKS if tick <= top]
    across = Scale(0.0, top, 60, _SQUARE - 20, math.log1p)
    up = Scale(0.0, top, _SQUARE - 50, 34, math.log1p)
    parts = [
        *axis_below(across, _SQUARE - 50, 34, "expected buyers of an item", ticks),
        *axis_left(up, 60, _SQUARE - 20, "actual buyers", ticks),
        path([(across(0.0), up(0.0)), (across(top), up(top))], "zero"),
    ]
    for part in bins:
        tooltip = f"{part.items:,} items: expected {part.expected:.3f} buyers each, actual {part.sold:.3f}"
        parts.append(dot(across(part.expected), up(part.sold), "f both", tooltip))
    return picture(_SQUARE, _SQUARE, parts, "Expected demand against sales")


def lorenz_curves(series: Mapping[str, tuple[str, Sequence[tuple[float, float]]]], across: str, up: str) -> str:
    """Draw curves from (0, 0) to (1, 1); each name has a CSS class and points. On the diagonal all shares are equal."""
    x = Scale(0.0, 1.0, 60, _SQUARE - 20)
    y = Scale(0.0, 1.0, _SQUARE - 50, 34)
    parts = [*axis_below(x, _SQUARE - 50, 34, across), *axis_left(y, 60, _SQUARE - 20, up)]
    parts.append(path([(x(0.0), y(0.0)), (x(1.0), y(1.0))], "zero"))
    parts += [path([(x(a), y(b)) for a, b in points], f"c {kind}") for kind, points in series.values()]
    return picture(_SQUARE, _SQUARE, parts, f"{up} by {across}: {', '.join(series)}")


def stacked_bars(rows: Mapping[str, Mapping[str, float]], kinds: Sequence[str], *, width: int = 640) -> str:
    """Draw shares of a whole as one stacked bar for each row; ``kinds`` are the CSS classes of the shares."""
    scale = Scale(0.0, 1.0, _LABEL, width - 20)
    bottom = 30 * len(rows) + 8
    parts = axis_below(scale, bottom, 4, "share", [0.0, 0.25, 0.5, 0.75, 1.0])
    for number, (label, row) in enumerate(rows.items()):
        y, start = 8 + number * 30, 0.0
        parts.append(text(_LABEL - 12, y + 14, label, "l", "end"))
        for kind, (name, value) in zip(kinds, row.items(), strict=True):
            wide = scale(start + value) - scale(start)
            parts.append(box(scale(start), y, wide, 20, f"f {kind}", f"{label}, {name}: {value:.1%}"))
            start += value
    return picture(width, bottom + 42, parts, "Shares")


def scatter(points: Sequence[tuple[str, str, float, Estimate]], across: str, up: str, *, width: int = 460) -> str:
    """Draw named points with vertical intervals; each is (name, CSS class, x value, estimate)."""
    height = 300
    x = Scale(0.0, max(value for _, _, value, _ in points) * 1.2 or 1.0, 60, width - 20)
    y = Scale(0.0, max(estimate.high for *_, estimate in points) * 1.1 or 1.0, height - 50, 34)
    parts = [*axis_below(x, height - 50, 34, across), *axis_left(y, 60, width - 20, up)]
    for name, kind, value, estimate in points:
        left = x(value) > (60 + width) / 2
        parts += [
            line(x(value), y(estimate.low), x(value), y(estimate.high), f"w {kind}"),
            dot(x(value), y(estimate.mean), f"f {kind}", f"{name}: {estimate.mean:.4f} at {short(value)}", 6),
            text(x(value) + (-10 if left else 10), y(estimate.mean) + 4, name, "n", "end" if left else "start"),
        ]
    return picture(width, height, parts, f"{up} against {across}")


def step_curves(series: Mapping[str, StepSeries], up: str) -> str:
    """Draw values by training step; each name has a CSS class and at least one point."""
    everything = [point for _, points in series.values() for point in points]
    values = [value for _, value in everything]
    x = Scale(0.0, float(max(step for step, _ in everything)) or 1.0, 60, _STEP_WIDTH - 20)
    y = Scale(min(0.0, *values), max(values) * 1.05 or 1.0, _STEP_HEIGHT - 50, 34)
    parts = [*axis_below(x, _STEP_HEIGHT - 50, 34, "step"), *axis_left(y, 60, _STEP_WIDTH - 20, up)]
    for name, (kind, points) in series.items():
        parts.append(path([(x(step), y(value)) for step, value in points], f"c {kind}"))
        parts += [dot(x(step), y(value), f"f {kind}", f"{name}, step {step}: {value:.4f}", 3) for step, value in points]
    return picture(_STEP_WIDTH, _STEP_HEIGHT, parts, f"{up} by step: {', '.join(series)}")
