"""Next purchases in UCI Online Retail: of customers the release knows, and of customers it never saw.

A third of the customers is held out whole: nothing of theirs reaches a table, a model or a baseline. The release knows
everybody else's purchases up to the last fortnight. Every customer who buys in that fortnight and bought at least
three items before is asked for through the gateway, by history alone. Baselines know what the release knows, and answer
the same users.
"""

from __future__ import annotations

import os
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
from pipeline.data.dataset.temporal_split import examples
from pipeline.data.dataset.training_requests import Windows
from pipeline.evaluation.analyses.baselines import DECIDES, TAIL
from pipeline.evaluation.evaluation import EvaluationSettings, evaluate_release
from pipeline.learning.baselines.methods import FACTORISATIONS
from pipeline.local_services import local_services
from pipeline.measurement.metrics.baseline_result import Baselines
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.questions.answers import BOTH, FIRST
from pipeline.measurement.questions.protocols import Before, Question, Questions
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEASONS

KNOWN: Final = "known customers"
UNSEEN: Final = "customers never seen"
_STORE: Final = Path("releases/online-retail")
_HELD_OUT: Final = 1 / 3
_MIN_HISTORY: Final = 3
_QUICK_USERS: Final = 60
_CALIBRATION: Final = 0.02
_TAIL_TIMES: Final = 2.0
_PATIENT: Final = {
    "SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "30",
    "SHORTLIST_GATEWAY_CANDIDATES": "300",
    "SHORTLIST_RANKING_REQUEST_TIMEOUT_S": "30",
}


@dataclass(frozen=True)
class Parted:
    """A shop's customers in two.

    Attributes:
        kept: What a release may learn from: nothing of the held-out customers.
        groups: Whom to ask at the last moment, by group.
    """

    kept: Dataset
    groups: dict[str, Questions]


def run(quick: bool, console: Console) -> Result:
    """Build or reuse the release and ask the gateway for both groups; quick asks few users."""
    report, settings = ProgressReport(console), BuildSettings.of(SEASONS.name, test_users=1)
    with report.step("Preparing online-retail"):
        whole = prepare("online-retail", _data())
    parted = part(whole, settings.window_days, settings.seed, _QUICK_USERS if quick else None)
    release = build(parted.kept, _STORE, settings, report)
    with local_services(release.path, _STORE / ".services", _PATIENT) as services:
        found = {
            group: evaluate_release(
                release,
                questions,
                EvaluationSettings(gateway=services.targets["gateway"], baselines=True, seed=settings.seed),
                report,
            )
            for group, questions in parted.groups.items()
        }
    return Result(_figures(found, release), _bars(found), [_table(group, one) for group, one in found.items()])


def part(whole: Dataset, days: float, seed: int, users: int | None = None) -> Parted:
    """Hold a third of the customers out, and say whom to ask at the last moment.

    Args:
        whole: The shop's data.
        days: Length of the window that is asked for.
        seed: Of who is held out.
        users: How many users of each group to ask for at most.
    """
    windows = Windows.of(whole.events, days)
    customers = whole.events.filter(pl.col("known_user"))["user_id"].unique().sort().to_list()
    places = np.random.default_rng(seed).permutation(len(customers))[: round(_HELD_OUT * len(customers))]
    held_out = {customers[place] for place in places.tolist()}
    events = whole.events.filter(~pl.col("user_id").is_in(sorted(held_out)))
    time = pl.col("timestamp")
    before = Before(windows.test, events.filter(time < windows.test), events.filter(time >= windows.test))
    asked = examples(whole.events, windows.test, windows.length, min_history=_MIN_HISTORY)
    groups = {}
    for group, its in ((KNOWN, False), (UNSEEN, True)):
        questions = [
            Question(one.user_id, one.user_id, one.history, "", dict.fromkeys(one.held_out, 1.0))
            for one in asked
            if (one.user_id in held_out) == its
        ][:users]
        described = f"what {len(questions):,} {group} bought in the {days:g} days from {windows.test:%Y-%m-%d}"
        groups[group] = Questions("temporal", described, questions, before=before)
    return Parted(Dataset(whole.items, events, None, whole.report), groups)


def _figures(found: dict[str, Evaluation], release: Release) -> dict[str, Any]:
    kept = {"questions", "items", "modes", "demand", "steering", "baselines", "slices"}
    return {
        "build_s": release.manifest.metrics["build_s"],
        "validation": release.manifest.metrics["validation"],
        **{group: one.model_dump(mode="json", include=kept) for group, one in found.items()},
    }


def _bars(found: dict[str, Evaluation]) -> list[Threshold]:
    bars = []
    for group, one in found.items():
        best = _best(one)
        over = _baselines(one).by_name[best].two_stages_over[DECIDES]
        bars.append(
            Threshold(f"{group}: NDCG@10 of two stages over {best}, lower end of 95 %", 0.0, over.low, over.low > 0)
        )
        probabilities = one.modes[BOTH].probabilities
        error = float("inf") if probabilities is None else probabilities.expected_calibration_error
        bars.append(at_most(f"{group}: calibration error", _CALIBRATION, error))
        bars.append(
            at_least(f"{group}: tail's recall@100 over the best factorisation's", _TAIL_TIMES, _tail_times(one))
        )
    return bars


def _tail_times(one: Evaluation) -> float:
    """Return the tail's recall@100 of two stages, in that of the matrix factorisation that finds more of it."""
    baselines = _baselines(one)
    factorised = max(baselines.by_name[name].measures[TAIL].mean for name in FACTORISATIONS)
    return baselines.two_stages[TAIL].mean / max(factorised, 1e-9)


def _best(one: Evaluation) -> str:
    return _baselines(one).best


def _baselines(one: Evaluation) -> Baselines:
    if one.baselines is None:
        raise BadDataset("the evaluation has no baselines")
    return one.baselines


def _table(group: str, one: Evaluation) -> Table:
    table = Table(
        "", "NDCG@10", "HR@10", "recall@100", "tail recall@100", "two stages over it: NDCG@10", title=f"{group}, test"
    )
    baselines = _baselines(one)
    for name, figures in baselines.by_name.items():
        cells = [_cell(figures.measures[kind]) for kind in (DECIDES, "hr@10", "recall@100", TAIL)]
        table.add_row(
            f"{name} (best)" if name == baselines.best else name, *cells, _over(figures.two_stages_over[DECIDES])
        )
    first = one.modes[FIRST]
    over = one.modes[BOTH].over[FIRST][DECIDES]
    table.add_row(FIRST, *(_cell(first.measures[kind]) for kind in (DECIDES, "hr@10", "recall@100")), "", _over(over))
    table.add_row(BOTH, *(_cell(baselines.two_stages[kind]) for kind in (DECIDES, "hr@10", "recall@100", TAIL)), "")
    return table


def _cell(estimate: Estimate) -> str:
    return f"{estimate.mean:.4f}"


def _over(difference: Difference) -> str:
    return f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def _data() -> Path:
    shared = os.environ.get("SHORTLIST_DATA") or Path(__file__).resolve().parents[3] / "shared/data"
    folder = Path(shared) / "online-retail"
    if not folder.is_dir():
        raise BadDataset(f"{folder} does not exist; name the folder of the data for measuring with SHORTLIST_DATA")
    return folder
