"""The report's sections on the tail, the sources, the slices and the folds."""

from __future__ import annotations

from html import escape

from pipeline.evaluation.report import charts
from pipeline.evaluation.report.charts import Row
from pipeline.evaluation.report.html import (
    KIND,
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
from pipeline.measurement.metrics.baseline_result import SteeringPoint
from pipeline.measurement.metrics.evaluation_result import Evaluation, Slice
from pipeline.measurement.metrics.item_popularity import BANDS


def tail(found: Evaluation) -> str:
    """Return how far recommendations reach into the tail."""
    series = {name: (KIND[name], mode.concentration) for name, mode in found.modes.items()}
    series["what users buy"] = ("sales", found.sales)
    bars = {name: mode.shares for name, mode in found.modes.items()}
    return section(
        "Reach into the tail",
        "Head: the tenth of the items that sold most. Tail: items under the median of sales. A curve on the diagonal "
        "would show every item alike.",
        panels(
            panel(
                "Share of recommendations, by share of items",
                key({name: kind for name, (kind, _) in series.items()}),
                charts.curves(series, "items, least popular first", "share of the first ten"),
            ),
            panel(
                "First ten by band",
                key(dict(zip(BANDS, BANDS, strict=True))),
                charts.shares(bars, BANDS, width=520),
                table(["", *found.modes], _reach(found)),
            ),
        ),
        _steering(found),
    )


def _steering(found: Evaluation) -> str:
    """Return what more of the tail costs the two stages."""
    if not found.steering:
        return ""
    head = ["least share", "tail share@10", "NDCG@10", "cost"]
    rows = [
        [f"{point.kept:.0%}", f"{point.long_tail_share:.1%}", estimated(point.quality), compared(point.cost)]
        for point in found.steering
    ]
    if found.steering[0].served_cost is not None:
        head += ["tail share@10 as answered", "cost as answered"]
        rows = [[*row, *_as_answered(point)] for row, point in zip(rows, found.steering, strict=True)]
    return framed("<h3>A least share of the first ten kept for the tail: what that costs</h3>", table(head, rows))


def _as_answered(point: SteeringPoint) -> list[str]:
    if point.served_tail_share is None or point.served_cost is None:
        return ["", ""]
    return [f"{point.served_tail_share:.1%}", compared(point.served_cost)]


def _reach(found: Evaluation) -> list[list[str]]:
    modes = found.modes.values()
    return [
        ["coverage@10", *(f"{mode.coverage:.2%}" for mode in modes)],
        ["Gini@10", *(f"{mode.gini:.4f}" for mode in modes)],
        ["tail share@10", *(f"{mode.shares['tail']:.1%}" for mode in modes)],
        ["novelty@10, bits", *(f"{mode.measures['novelty@10'].mean:.2f}" for mode in modes)],
    ]


def sources(found: Evaluation) -> str:
    """Return what each source of the first stage brings; nothing where that is not known."""
    if found.sources is None:
        return ""
    ordered = sorted(found.sources.items(), key=lambda item: -item[1].loss["recall@100"].mean)
    plots = []
    for measure in ("recall@100", "ndcg@10"):
        loss = [Row(name, "both", share.loss[measure], f"lost without {name}") for name, share in ordered]
        plot = charts.intervals(loss, "paired difference", width=500, zero=True)
        plots.append(panel(f"{measure_name(measure)} lost without it", plot))
    rows = [
        [
            escape(name),
            f"{share.hits:.1%}",
            f"{share.only:.1%}",
            estimated(share.alone["recall@100"]),
            estimated(share.alone["ndcg@10"]),
            compared(share.loss["recall@100"]),
            compared(share.loss["ndcg@10"]),
        ]
        for name, share in ordered
    ]
    head = ["", "hits found", "found by it alone", "alone: recall@100", "alone: NDCG@10", "without: recall@100 lost"]
    return section(
        "What each source brings",
        "The first stage with one source taken away, and with one source alone; the weights stay those of the release.",
        panels(*plots),
        framed(table([*head, "without: NDCG@10 lost"], rows)),
    )


def slices(found: Evaluation) -> str:
    """Return the figures by slice; nothing where there are none."""
    if not found.slices:
        return ""
    parts = []
    for kind in dict.fromkeys(part.kind for part in found.slices):
        members = [part for part in found.slices if part.kind == kind]
        for measure in ("ndcg@10", "recall@100"):
            plot = charts.intervals(_sliced(members, measure), "mean and 95 % interval", width=500)
            parts.append(panel(f"{measure_name(measure)} by {kind}", plot))
    return section(
        "For whom, and for what",
        "By items and language, only the wanted items of that slice count. Slices with fewer than five questions are "
        "left out.",
        key(KIND),
        panels(*parts),
    )


def _sliced(members: list[Slice], measure: str) -> list[Row]:
    return [
        Row(
            f"{part.name} ({part.questions:,})" if not number else "",
            KIND[mode],
            values[measure],
            f"{part.name}, {mode}",
        )
        for part in members
        for number, (mode, values) in enumerate(part.modes.items())
    ]


def folds(found: Evaluation) -> str:
    """Return the cross-validation; nothing where there is none."""
    if found.folds is None:
        return ""
    given = found.folds
    kinds = dict(zip(given.what, ("popular", "first", "both"), strict=True))
    rows = [
        [
            f"{escape(name)}<small>learned in each fold: {escape(given.what[name])}</small>",
            estimated(given.overall[name]),
            compared(given.over_served[name]) if name in given.over_served else "–",
            *(f"{value:.4f}" for value in values),
        ]
        for name, values in given.folds.items()
    ]
    count = len(next(iter(given.folds.values())))
    head = ["", measure_name(given.measure), "over as served", *(f"fold {number + 1}" for number in range(count))]
    plot = [Row(name, kinds[name], estimate, name) for name, estimate in given.overall.items()]
    return section(
        f"Cross-validation: {count} folds by {given.by}",
        "Learned anew in each fold is only what the table says. Encoder, index, behaviour tables and cross-encoder are "
        "the release's in every fold.",
        panel(measure_name(given.measure), charts.intervals(plot, "mean and 95 % interval")),
        framed(table(head, rows)),
    )
