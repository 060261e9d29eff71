"""The report's sections on single methods, and on what was expected of each item."""

from __future__ import annotations

from html import escape

from pipeline.evaluation.report import charts
from pipeline.evaluation.report.charts import Row
from pipeline.evaluation.report.html import compared, estimated, framed, measure_name, panel, panels, section, table
from pipeline.measurement.metrics.baseline_result import Baselines, RatingFigures
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.questions.answers import BOTH

_SHOWN = ("ndcg@10", "hr@10", "recall@100", "tail recall@100")


def baselines(found: Evaluation) -> str:
    """Return single methods beside the two stages; nothing where they were not asked."""
    given = found.baselines
    if given is None:
        return ""
    rows = [
        Row(f"{name} (best)" if name == given.best else name, "popular", figures.measures["ndcg@10"], name)
        for name, figures in given.by_name.items()
    ]
    rows.append(Row(BOTH, "both", given.two_stages["ndcg@10"], BOTH))
    return section(
        "Single methods",
        "Each is fitted to what was known when the questions are asked, and answers the same questions from the same "
        f"histories. The tail's recall is of the {given.tail_questions:,} questions that wanted something of the tail.",
        panel("NDCG@10", charts.intervals(rows, "mean and 95 % interval")),
        framed(_figures(given)),
        _ratings(given.ratings),
    )


def _figures(given: Baselines) -> str:
    kinds = [kind for kind in _SHOWN if kind in given.two_stages]
    rows = [
        [
            escape(f"{name} (best)" if name == given.best else name),
            *(estimated(figures.measures[kind]) for kind in kinds),
            *(compared(figures.two_stages_over[kind]) for kind in kinds),
            f"{figures.fit_s:.1f}",
            f"{figures.answer_ms:.2f}",
        ]
        for name, figures in given.by_name.items()
    ]
    rows.append([BOTH, *(estimated(given.two_stages[kind]) for kind in kinds), *[""] * (len(kinds) + 2)])
    names = [measure_name(kind) for kind in kinds]
    return table(["", *names, *(f"two stages over it: {name}" for name in names), "fit, s", "answer, ms"], rows)


def _ratings(found: RatingFigures | None) -> str:
    if found is None:
        return ""
    rows = [
        ["explicit matrix factorisation", f"{found.rmse:.4f}", f"{found.mae:.4f}"],
        ["the item's mean", f"{found.rmse_by_item:.4f}", ""],
        ["the mean of all", f"{found.rmse_mean:.4f}", ""],
    ]
    title = f"{found.ratings:,} later ratings foretold"
    return framed(f"<h3>{title}</h3>", table(["", "RMSE", "MAE"], rows))


def demand(found: Evaluation) -> str:
    """Return what was expected of each item against what sold; nothing where answers have no probabilities."""
    given = found.demand
    if given is None or not given.bins:
        return ""
    rows = [
        [name, f"{expected:,.1f}", f"{sold:,.0f}", f"{expected / sold:.0%}" if sold else "–"]
        for name, (expected, sold) in given.bands.items()
    ]
    return section(
        "What was expected to sell",
        f"Each item's probabilities, summed over {given.users:,} users, against how many of them took it. An answer "
        f"expects nothing of items beyond its {found.limit}, so that the tail, which seldom stands in one, sells more "
        f"than is expected. Rank correlation over all items: {given.correlation:.3f}.",
        panels(
            panel("Expected and taken, items of like expectation together", charts.demand(given.bins)),
            panel("By band", table(["", "expected", "taken", "foretold"], rows)),
        ),
    )
