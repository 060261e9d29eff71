"""What fresh tables bring: the same models with tables up to the request, and with tables as old as they were before.

Releases used to serve the tables that models learn from: on Complete Journey they ended 70 days before the last event,
on Online Retail 14 days. Users held out are asked at the beginning of the test window, by history.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.harness.record import Result, Threshold
from benchmarks.offline.online_retail import data_folder
from benchmarks.offline.yesterday import build_yesterday
from common.arrays import Float64Array
from common.release.store import Release
from pipeline.build.builder import build
from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import Windows
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import BOTH, FIRST, rankings
from pipeline.measurement.questions.local_runner import local_runner
from pipeline.measurement.questions.protocols import Questions, make_questions
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEASONS
from pipeline.tables.replay import replay

_ONLINE_RETAIL: Final = Path("releases/online-retail-whole")
_AGE: Final = {"complete-journey": timedelta(days=70), "online-retail": timedelta(days=14)}
_MEASURES: Final = ("ndcg@10", "recall@100")
_LIMIT: Final = 100
_QUICK_USERS: Final = 60


def run(quick: bool, console: Console) -> Result:
    """Build or reuse both releases and replay them; quick takes fewer users."""
    report, figures, thresholds = ProgressReport(console), {}, []
    table = Table(title="Fresh tables compared with old ones", caption="gains are paired, 95 % intervals")
    for column in ("data", "age of old tables", "answered by", "measure", "old", "fresh", "gain"):
        table.add_column(column)
    for source, age in _AGE.items():
        dataset, release = _built(source, report)
        found = compare(release, dataset, age, report, _QUICK_USERS if quick else None)
        figures[source] = {"age_days": age.days, **found}
        for mode in (FIRST, BOTH):
            for measure, one in found[mode].items():
                gain = one["gain"]
                interval = f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
                means = (f"{one[name]['mean']:.4f}" for name in ("old", "fresh"))
                table.add_row(source, f"{age.days} days", mode, measure, *means, interval)
        low = found[BOTH]["ndcg@10"]["gain"]["low"]
        thresholds.append(Threshold(f"{source}: NDCG@10 gained, lower end of 95 %", 0.0, low, low > 0))
    return Result(figures, thresholds, [table])


def compare(
    release: Release, dataset: Dataset, age: timedelta, report: ProgressReport, users: int | None
) -> dict[str, Any]:
    """Return means and paired gains by mode and measure.

    Args:
        release: The release.
        dataset: Its data.
        age: How old the old tables are when users are asked.
        report: Shows progress.
        users: Users at most; None for those that the release held out.
    """
    settings = release.manifest.settings
    time = Windows.of(dataset.events, settings["window_days"]).test
    questions = make_questions(dataset, settings, "temporal", users=users, seed=settings["seed"])
    old, fresh = (
        _scores(replay(release, dataset, moment, release.path.parent / ".services" / name, report), questions, report)
        for name, moment in (("old", time - age), ("fresh", time))
    )
    seed = int(settings["seed"])
    return {
        "questions": len(questions.main),
        **{
            mode: {
                measure: {
                    "old": Estimate.from_scores(old[mode][measure], seed).model_dump(),
                    "fresh": Estimate.from_scores(fresh[mode][measure], seed).model_dump(),
                    "gain": Difference.between(fresh[mode][measure], old[mode][measure], seed).model_dump(),
                }
                for measure in _MEASURES
            }
            for mode in (FIRST, BOTH)
        },
    }


def _scores(release: Release, questions: Questions, report: ProgressReport) -> Mapping[str, Mapping[str, Float64Array]]:
    relevance = {question.key: question.relevant for question in questions.main}
    found = {}
    with local_runner(release) as runner:
        for mode in (FIRST, BOTH):
            with report.step(f"Answering {len(relevance)} questions: {mode}", len(relevance)) as step:
                answers = runner.answer_questions(questions.main, mode, _LIMIT, step)
            found[mode] = evaluate(rankings(answers), relevance, _MEASURES)
    return found


def _built(source: str, report: ProgressReport) -> tuple[Dataset, Release]:
    with report.step(f"Preparing {source}"):
        dataset = prepare(source, data_folder() if source == "online-retail" else None)
    if source == "complete-journey":
        return dataset, build_yesterday(dataset, report)
    settings = BuildSettings.from_recipe(SEASONS.name)
    return dataset, build(dataset, _ONLINE_RETAIL, settings, report, force=True)
