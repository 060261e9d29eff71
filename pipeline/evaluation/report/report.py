"""The evaluation as one HTML page that needs nothing else: no network, no script, drawings inline."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

from pipeline.evaluation.report import baseline_sections as methods
from pipeline.evaluation.report import charts
from pipeline.evaluation.report import detail_sections as details
from pipeline.evaluation.report import second_stage_sections as second
from pipeline.evaluation.report.charts import Row
from pipeline.evaluation.report.html import (
    KIND,
    card,
    compared,
    estimated,
    framed,
    measure_name,
    p_value,
    panel,
    panels,
    section,
    table,
)
from pipeline.measurement.metrics.beyond_accuracy import MEASURES
from pipeline.measurement.metrics.evaluation_result import Evaluation, Mode
from pipeline.measurement.questions.answers import BOTH, FIRST

_STYLE: Final = Path(__file__).with_name("report.css")


_PLOTTED: Final = ("ndcg@10", "hr@10", "recall@100", "map@100")


_TERMS: Final = {
    "NDCG, HR, recall, precision, MAP, MRR": "as trec_eval defines them; what the catalogue lacks counts as missed",
    "F1": "harmonic mean of precision and recall in the first ten, mean over questions",
    "AUC": "share of pairs (wanted, other item) in the right order, over the catalogue; what is not shown ties last",
    "novelty": "mean self-information of the first ten, in bits: -log2 of an item's share of purchases",
    "diversity": "one minus the mean cosine between the texts of the first ten",
    "coverage, Gini": "share of the catalogue shown in some first ten; concentration of that exposure, 0 to 1",
    "interval, p": "95 % percentile bootstrap over questions; paired sign-flip randomisation test, two-sided",
}


def render_report(found: Evaluation) -> str:
    """Return the page of an evaluation."""
    parts = [
        _top(found),
        _quality(found),
        methods.baselines(found),
        _cost(found),
        _probabilities(found),
        methods.demand(found),
        details.tail(found),
        details.sources(found),
        second.depths(found),
        second.hidden(found),
        second.training(found),
        details.slices(found),
        details.folds(found),
        _terms(found),
    ]
    title = escape(f"Release {found.release_id}: evaluation")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE.read_text()}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _top(found: Evaluation) -> str:
    lead = (
        f"Asked: {found.asked}, {found.questions:,} questions over {found.items:,} items of {found.source}: "
        f"{found.description}."
    )
    mode = found.modes[BOTH]
    cards = [_headline(mode, "ndcg@10"), _headline(mode, "hr@10"), _headline(mode, "recall@100")]
    cards.append(card(f"{mode.coverage:.1%}", "of the catalogue", "in somebody's first ten"))
    if mode.probabilities is not None:
        error = f"{mode.probabilities.expected_calibration_error:.4f}"
        cards.append(card(error, "calibration error", f"base rate {mode.probabilities.base_rate:.4f}"))
    latency = mode.latency["total"]
    cards.append(card(_time(latency.p50), "median answer", f"95 %: {_time(latency.p95)}"))
    return (
        f"<h1>Release {escape(found.release_id)}</h1>"
        f'<p class="verdict">{escape(_verdict(found))}</p><p class="lead">{escape(lead)}</p>'
        f'<div class="cards">{"".join(cards)}</div>'
    )


def _headline(mode: Mode, measure: str) -> str:
    value = mode.measures[measure]
    return card(f"{value.mean:.3f}", measure_name(measure), f"{value.low:.3f} to {value.high:.3f}")


def _time(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1_000 else f"{ms / 1_000:.1f} s"  # noqa: PLR2004 - a second


def _verdict(found: Evaluation) -> str:
    gain = found.modes[BOTH].over[FIRST]["ndcg@10"]
    both, first = (found.modes[name].measures["ndcg@10"].mean for name in (BOTH, FIRST))
    if gain.low > 0:
        said = "Two stages beat the first stage alone"
    elif gain.high < 0:
        said = "Two stages do worse than the first stage alone"
    else:
        said = "Two stages and the first stage alone can't be told apart"
    return f"{said}: NDCG@10 {both:.3f} against {first:.3f} ({gain.mean:+.3f}, {p_value(gain.p)})."


def _quality(found: Evaluation) -> str:
    plots = []
    for measure in _PLOTTED:
        rows = [
            Row(name, KIND[name], mode.measures[measure], f"{name}, {measure_name(measure)}")
            for name, mode in found.modes.items()
        ]
        plots.append(panel(measure_name(measure), charts.intervals(rows, "mean and 95 % interval", width=500)))
    measures = [*MEASURES, *(name for name in found.modes[BOTH].measures if name not in MEASURES)]
    others = [name for name in found.modes if name != BOTH]
    figures = [
        [
            escape(measure_name(measure)),
            *(estimated(mode.measures[measure]) for mode in found.modes.values()),
            *(compared(found.modes[BOTH].over[other][measure]) for other in others),
        ]
        for measure in measures
    ]
    return section(
        "Quality",
        "Each system answers the same questions. Intervals are bootstrapped over questions; overlapping ones may still "
        "hide a clear difference, which the paired comparison of two stages with the others shows.",
        panels(*plots),
        framed(table(["", *found.modes, *(f"two stages over {name}" for name in others)], figures)),
    )


def _cost(found: Evaluation) -> str:
    points = [
        (name, KIND[name], mode.latency["total"].p50, mode.measures["ndcg@10"]) for name, mode in found.modes.items()
    ]
    known = {stage for mode in found.modes.values() for stage in mode.latency}
    stages = [stage for stage in ("retrieval", "ranking", "total") if stage in known]
    rows = []
    for name, mode in found.modes.items():
        cells = [_milliseconds(mode, stage) for stage in stages]
        rows.append([escape(name), *cells, str(mode.degraded)])
    memory = "not known: a gateway answered" if found.cost.memory_mb is None else f"{found.cost.memory_mb:,.0f} MB"
    size = f"Release: {found.cost.release_mb:,.0f} MB. Peak memory of engines and measuring: {memory}."
    built = sum(found.cost.build_s.values())
    if built:
        slowest = sorted(found.cost.build_s.items(), key=lambda step: -step[1])[:3]
        size += f" Built in {built:,.0f} s, most of it: " + ", ".join(f"{name} {s:,.0f} s" for name, s in slowest) + "."
    return section(
        "What it costs",
        "Median milliseconds of an answer against its quality: up and to the left is better.",
        panels(
            panel("NDCG@10 against latency", charts.against(points, "median milliseconds", "NDCG@10")),
            panel("Milliseconds by stage, median", table(["", *stages, "degraded"], rows), f"<p>{escape(size)}</p>"),
        ),
    )


def _milliseconds(mode: Mode, stage: str) -> str:
    if stage not in mode.latency:
        return "–"
    return f"{mode.latency[stage].p50:.1f}<small>95 %: {mode.latency[stage].p95:.1f}</small>"


def _probabilities(found: Evaluation) -> str:
    known = found.modes[BOTH].probabilities
    if known is None:
        return ""
    rows = [
        ["expected calibration error", f"{known.expected_calibration_error:.4f}"],
        ["Brier score", f"{known.brier:.4f}"],
        ["AUC over all candidates", f"{known.auc:.4f}"],
        ["wanted among candidates", f"{known.base_rate:.4f}"],
        [
            f"accuracy at {known.threshold:g}",
            f"{known.accuracy:.4f}<small>always no: {1 - known.base_rate:.4f}</small>",
        ],
        [f"precision at {known.threshold:g}", f"{known.precision:.4f}"],
        [f"recall at {known.threshold:g}", f"{known.recall:.4f}"],
        [f"F1 at {known.threshold:g}", f"{known.f1:.4f}"],
    ]
    return section(
        "Can the probabilities be trusted?",
        f"{known.candidates:,} candidates whose outcome is known, in 15 bins of equal numbers. On the dashed line, "
        "what was promised was kept.",
        panels(
            panel("Promised and kept", charts.calibration(known.bins)),
            panel("As figures", table(["", "two stages"], rows)),
        ),
    )


def _terms(found: Evaluation) -> str:
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(meaning)}</dd>" for name, meaning in _TERMS.items())
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    noted = f"<h3>Notes</h3><ul>{notes}</ul>" if notes else ""
    footer = f"Protocol {found.protocol}, {found.limit} items an answer, seed {found.seed}. Data: {found.licence}."
    return f"<section><h2>How to read this</h2>{noted}<dl>{listed}</dl></section><footer>{escape(footer)}</footer>"
