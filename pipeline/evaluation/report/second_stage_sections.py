"""The report's sections on the second stage: its training, how deep it reads, and what its fusion needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from pipeline.evaluation.analyses.second_stage import MEASURED
from pipeline.evaluation.report import charts
from pipeline.evaluation.report.charts import Row
from pipeline.evaluation.report.html import (
    compared,
    estimated,
    framed,
    key,
    measure_name,
    panel,
    panels,
    section,
    table,
)
from pipeline.evaluation.report.svg import Scale, axis_below, axis_left, dot, path, picture
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.metrics.learning_curve import MEASURE, LearningCurve

_WIDTH: Final = 460


_HEIGHT: Final = 300


Points = Sequence[tuple[int, float]]


def training(found: Evaluation) -> str:
    """Return how the models' training went; nothing where the release does not tell."""
    if not found.training:
        return ""
    parts = [part for name, curve in found.training.items() for part in _curves(name.replace("_", "-"), curve)]
    return section(
        "How it was trained",
        "By step: the loss of what is learned from, and what lists of validation users say meanwhile. Where these get "
        "worse while the loss still falls, the model learns its examples by heart.",
        panels(*parts),
    )


def _curves(name: str, curve: LearningCurve) -> list[str]:
    losses = {"learned from": ("first", curve.loss), "validation": ("both", curve.valid_loss)}
    kinds = {what: kind for what, (kind, points) in losses.items() if points}
    drawn = {what: given for what, given in losses.items() if given[1]}
    parts = [panel(f"Loss of the {name}", key(kinds), by_step(drawn, "loss"))] if drawn else []
    if curve.valid_ndcg:
        says = measure_name(MEASURE)
        parts.append(panel(f"{says} of the {name}'s own order", by_step({says: ("both", curve.valid_ndcg)}, says)))
    return parts


def by_step(series: Mapping[str, tuple[str, Points]], up: str) -> str:
    """Draw values by step; by name a class and points, at least one."""
    everything = [point for _, points in series.values() for point in points]
    values = [value for _, value in everything]
    x = Scale(0.0, float(max(step for step, _ in everything)) or 1.0, 60, _WIDTH - 20)
    y = Scale(min(0.0, *values), max(values) * 1.05 or 1.0, _HEIGHT - 50, 34)
    parts = [*axis_below(x, _HEIGHT - 50, 34, "step"), *axis_left(y, 60, _WIDTH - 20, up)]
    for name, (kind, points) in series.items():
        parts.append(path([(x(step), y(value)) for step, value in points], f"c {kind}"))
        parts += [dot(x(step), y(value), f"f {kind}", f"{name}, step {step}: {value:.4f}", 3) for step, value in points]
    return picture(_WIDTH, _HEIGHT, parts, f"{up} by step: {', '.join(series)}")


def depths(found: Evaluation) -> str:
    """Return quality against latency by how deep the cross-encoder reads; nothing where that is not known."""
    if not found.depths:
        return ""
    plots = []
    for measure in MEASURED:
        points = [(str(one.read), "both", one.latency.p50, one.measures[measure]) for one in found.depths]
        chart = charts.against(points, "median milliseconds", measure_name(measure))
        plots.append(panel(f"{measure_name(measure)} against latency", chart))
    rows = [
        [
            str(one.read),
            *(estimated(one.measures[measure]) for measure in MEASURED),
            *(compared(one.over_none[measure]) if one.over_none else "–" for measure in MEASURED),
            f"{one.latency.p50:.1f}<small>95 %: {one.latency.p95:.1f}</small>",
        ]
        for one in found.depths
    ]
    names = [measure_name(measure) for measure in MEASURED]
    return section(
        "How deep to read",
        "Both stages with the cross-encoder reading the most probable candidates, so many of each question; a hundred "
        "questions at most. The dots are named by that depth.",
        panels(*plots),
        framed(table(["read", *names, *(f"{name} over reading none" for name in names), "milliseconds"], rows)),
    )


def hidden(found: Evaluation) -> str:
    """Return what each group of features is worth to the fusion; nothing where that is not known."""
    if not found.hidden:
        return ""
    ordered = sorted(found.hidden.items(), key=lambda item: -item[1].loss[MEASURED[0]].mean)
    plots = [
        panel(
            f"{measure_name(measure)} lost without it",
            charts.intervals(
                [Row(name, "both", one.loss[measure], f"lost without {name}") for name, one in ordered],
                "paired difference",
                width=500,
                zero=True,
            ),
        )
        for measure in MEASURED
    ]
    rows = [
        [escape(name), str(one.features), *(compared(one.loss[measure]) for measure in MEASURED)]
        for name, one in ordered
    ]
    return section(
        "What the second stage needs",
        "Ablation: the fusion ranks the same candidates with a group of its features missing. The trees are not "
        "learned anew, so what other features could make good counts as lost.",
        panels(*plots),
        framed(table(["", "features", *(f"{measure_name(measure)} lost" for measure in MEASURED)], rows)),
    )
