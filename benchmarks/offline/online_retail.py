"""Next purchases in UCI Online Retail, of customers that the release knows and of customers that it never saw.

A third of the customers is held out completely: no table, model or baseline contains their purchases. The release knows
the purchases of all others up to the last fortnight. The gateway answers, by history alone, for every customer who buys
in that fortnight and bought at least three items before. Baselines learn from the same purchases and answer for the
same users.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.harness.record import Result, Threshold, at_least, at_most
from common.release.store import Release
from pipeline.build.builder import build
from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.dataset.temporal_split import split_users
from pipeline.data.dataset.training_requests import Windows
from pipeline.evaluation.analyses.baselines import MAIN_MEASURE, TAIL_MEASURE
from pipeline.evaluation.evaluation import EvaluationSettings, evaluate_release
from pipeline.learning.baselines.methods import FACTORISATIONS
from pipeline.local_services import local_services
from pipeline.measurement.metrics.baseline_result import BaselineComparison
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.questions.answers import BOTH, FIRST
from pipeline.measurement.questions.protocols import EventSplit, Question, Questions
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEASONS
from pipeline.tables.replay import replay

KNOWN: Final = "known customers"
UNSEEN: Final = "customers never seen"
_STORE: Final = Path("releases/online-retail")
_HELD_OUT: Final = 1 / 3
_MIN_HISTORY: Final = 3
_QUICK_USERS: Final = 60
_MAX_CALIBRATION_ERROR: Final = 0.02
_MIN_TAIL_RATIO: Final = 2.0
_PATIENT: Final = {
    "SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "30",
    "SHORTLIST_GATEWAY_CANDIDATES": "300",
    "SHORTLIST_RANKING_REQUEST_TIMEOUT_S": "30",
}


@dataclass(frozen=True)
class CustomerSplit:
    """A shop's customers, known and held out.

    Attributes:
        training: The data to learn from, without the held-out customers.
        groups: The test questions by group.
    """

    training: Dataset
    groups: dict[str, Questions]


def run(quick: bool, console: Console) -> Result:
    """Build or reuse the release and evaluate both groups through the gateway; quick takes few users."""
    report, settings = ProgressReport(console), _settings()
    release, split = _built(quick, settings, report)
    with local_services(release.path, _STORE / ".services", _PATIENT) as services:
        found = {
            group: evaluate_release(
                release,
                questions,
                EvaluationSettings(gateway=services.targets["gateway"], baselines=True, seed=settings.seed),
                report,
            )
            for group, questions in split.groups.items()
        }
    return Result(_figures(found, release), _thresholds(found), [_table(group, one) for group, one in found.items()])


@contextmanager
def served_release(quick: bool, console: Console) -> Iterator[tuple[str, dict[str, Questions]]]:
    """Build or reuse the release, and serve it while the body runs; yields the gateway's address and the questions."""
    release, split = _built(quick, _settings(), ProgressReport(console))
    with local_services(release.path, _STORE / ".services", _PATIENT) as services:
        yield services.targets["gateway"], split.groups


def _settings() -> BuildSettings:
    return BuildSettings.from_recipe(SEASONS.name, test_users=1)


def _built(quick: bool, settings: BuildSettings, report: ProgressReport) -> tuple[Release, CustomerSplit]:
    """Build or reuse the release, with the tables up to the time of the questions."""
    with report.step("Preparing online-retail"):
        whole = prepare("online-retail", data_folder())
    split = split_customers(whole, settings.window_days, settings.seed, _QUICK_USERS if quick else None)
    windows = Windows.of(split.training.events, settings.window_days)
    release = build(split.training, _STORE, settings, report)
    return replay(release, split.training, windows.test, _STORE / ".services" / "replay", report), split


def split_customers(whole: Dataset, days: float, seed: int, users: int | None = None) -> CustomerSplit:
    """Hold out a third of the customers, and return the test questions of both groups.

    Args:
        whole: The shop's data.
        days: Length of the test window, in days.
        seed: The random seed of the held-out customers.
        users: Users of each group at most.
    """
    windows = Windows.of(whole.events, days)
    customers = whole.events.filter(pl.col("known_user"))["user_id"].unique().sort().to_list()
    positions = np.random.default_rng(seed).permutation(len(customers))[: round(_HELD_OUT * len(customers))]
    held_out = {customers[position] for position in positions.tolist()}
    events = whole.events.filter(~pl.col("user_id").is_in(sorted(held_out)))
    time = pl.col("timestamp")
    event_split = EventSplit(windows.test, events.filter(time < windows.test), events.filter(time >= windows.test))
    buyers = split_users(whole.events, windows.test, windows.length, min_history=_MIN_HISTORY)
    groups = {}
    for group, is_held_out in ((KNOWN, False), (UNSEEN, True)):
        questions = [
            Question(one.user_id, one.user_id, one.history, "", dict.fromkeys(one.held_out, 1.0))
            for one in buyers
            if (one.user_id in held_out) == is_held_out
        ][:users]
        described = f"what {len(questions):,} {group} bought in the {days:g} days from {windows.test:%Y-%m-%d}"
        groups[group] = Questions("temporal", described, questions, event_split=event_split)
    return CustomerSplit(Dataset(whole.items, events, None, whole.report), groups)


def _figures(found: dict[str, Evaluation], release: Release) -> dict[str, Any]:
    kept = {"questions", "items", "modes", "demand", "steering", "baselines", "slices"}
    return {
        "build_s": release.manifest.metrics["build_s"],
        "validation": release.manifest.metrics["validation"],
        **{group: one.model_dump(mode="json", include=kept) for group, one in found.items()},
    }


def _thresholds(found: dict[str, Evaluation]) -> list[Threshold]:
    thresholds = []
    for group, one in found.items():
        best = _best(one)
        over = _baselines(one).by_name[best].two_stages_over[MAIN_MEASURE]
        thresholds.append(
            Threshold(f"{group}: NDCG@10 of two stages over {best}, lower end of 95 %", 0.0, over.low, over.low > 0)
        )
        probabilities = one.modes[BOTH].probabilities
        error = float("inf") if probabilities is None else probabilities.expected_calibration_error
        thresholds.append(at_most(f"{group}: calibration error", _MAX_CALIBRATION_ERROR, error))
        thresholds.append(
            at_least(
                f"{group}: long long tail's recall@100 over the best factorisation's", _MIN_TAIL_RATIO, _tail_ratio(one)
            )
        )
    return thresholds


def _tail_ratio(one: Evaluation) -> float:
    """Return the long tail's recall@100 of two stages, relative to that of the better matrix factorisation."""
    baselines = _baselines(one)
    factorised = max(baselines.by_name[name].measures[TAIL_MEASURE].mean for name in FACTORISATIONS)
    return baselines.two_stages[TAIL_MEASURE].mean / max(factorised, 1e-9)


def _best(one: Evaluation) -> str:
    return _baselines(one).best


def _baselines(one: Evaluation) -> BaselineComparison:
    if one.baselines is None:
        raise BadDataset("the evaluation has no baselines")
    return one.baselines


def _table(group: str, one: Evaluation) -> Table:
    table = Table(
        "",
        "NDCG@10",
        "HR@10",
        "recall@100",
        "long-tail recall@100",
        "gain of two stages: NDCG@10",
        title=f"{group}, test",
    )
    baselines = _baselines(one)
    for name, figures in baselines.by_name.items():
        cells = [_cell(figures.measures[kind]) for kind in (MAIN_MEASURE, "hr@10", "recall@100", TAIL_MEASURE)]
        table.add_row(
            f"{name} (best)" if name == baselines.best else name, *cells, _over(figures.two_stages_over[MAIN_MEASURE])
        )
    first = one.modes[FIRST]
    over = one.modes[BOTH].over[FIRST][MAIN_MEASURE]
    table.add_row(
        FIRST, *(_cell(first.measures[kind]) for kind in (MAIN_MEASURE, "hr@10", "recall@100")), "", _over(over)
    )
    table.add_row(
        BOTH, *(_cell(baselines.two_stages[kind]) for kind in (MAIN_MEASURE, "hr@10", "recall@100", TAIL_MEASURE)), ""
    )
    return table


def _cell(estimate: Estimate) -> str:
    return f"{estimate.mean:.4f}"


def _over(difference: Difference) -> str:
    return f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def data_folder() -> Path:
    """Return the folder of the raw data; raises BadDataset if there is none."""
    shared = os.environ.get("SHORTLIST_DATA") or Path(__file__).resolve().parents[3] / "shared/data"
    folder = Path(shared) / "online-retail"
    if not folder.is_dir():
        raise BadDataset(f"{folder} does not exist; set SHORTLIST_DATA to the folder of the benchmark data")
    return folder
