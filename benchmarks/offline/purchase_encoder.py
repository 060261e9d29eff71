"""What does fine-tuning the encoder on purchases gain? Complete Journey, validation users, never test users.

Two releases that differ only in the encoder answer the same requests: users at the validation date, by their history
and by searches made of titles that they bought next. The first stage answers by the source `semantic` alone and by all
sources. The results of both stages are in the manifests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.harness.record import Result
from common.arrays import Float64Array
from common.release.store import Release
from pipeline.build.builder import build
from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import ShopRequest, Windows, sample_users, simulate_cold_start
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.local_runner import local_runner
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.tables.replay import replay
from services.retrieval.candidates.request import Request

_PLAIN: Final = Path("releases/complete-journey")
_TRAINED: Final = Path("releases/complete-journey-encoder")
_USERS: Final = 600
_QUICK_USERS: Final = 60
_DEPTH: Final = 100
_MEASURES: Final = ("recall@100", "ndcg@10")
_SOURCES: Final[dict[str, tuple[str, ...]]] = {"semantic alone": ("semantic",), "every source": ()}


def run(quick: bool, console: Console) -> Result:
    """Build or reuse both releases and compare them; quick takes fewer users."""
    report, settings = ProgressReport(console), BuildSettings()
    with report.step("Preparing complete-journey"):
        dataset = prepare("complete-journey", None)
    plain = build(dataset, _PLAIN, settings, report)
    trained = build(dataset, _TRAINED, settings.with_encoder_epochs(1), report)
    windows = Windows.of(dataset.events, settings.window_days)
    plain, trained = (
        replay(one, dataset, windows.valid, store / ".services" / "replay", report)
        for one, store in ((plain, _PLAIN), (trained, _TRAINED))
    )
    requests = sample_requests(dataset, settings, _QUICK_USERS if quick else _USERS)
    found = compare(plain, trained, requests, settings.seed)
    stages = {name: one.manifest.metrics["validation"] for name, one in (("plain", plain), ("trained", trained))}
    figures = {"first stage": found, "validation": stages, "build_s": trained.manifest.metrics["build_s"]}
    return Result(figures, [], [_table(found)])


def sample_requests(dataset: Dataset, settings: BuildSettings, users: int) -> dict[str, list[ShopRequest]]:
    """Return requests of validation users, by what is known of them.

    Args:
        dataset: The shop's data.
        settings: The settings of the releases; their test users are left out.
        users: Users at most.
    """
    windows = Windows.of(dataset.events, settings.window_days)
    sampled = sample_users(
        dataset.events, windows, train=0, valid=users, test=settings.test_users, seed=settings.seed
    ).valid
    titles = dict(dataset.items.select("item_id", "title").iter_rows())
    searches = simulate_cold_start(sampled, titles, searches=1.0, newcomers=0.0, seed=settings.seed)
    return {"histories": sampled, "searches": [request for request in searches if request.query]}


def compare(
    plain: Release, trained: Release, requests: dict[str, list[ShopRequest]], seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return both means and the paired difference, by what is known, sources and measure.

    Args:
        plain: The release with the base encoder.
        trained: The release with the fine-tuned encoder.
        requests: Requests by what is known.
        seed: The random seed of the intervals.
    """
    before, after = _scores(plain, requests), _scores(trained, requests)
    return {
        known: {
            name: {
                measure: {
                    "plain": Estimate.from_scores(before[known, name][measure], seed).model_dump(),
                    "trained": Estimate.from_scores(after[known, name][measure], seed).model_dump(),
                    "gain": Difference.between(
                        after[known, name][measure], before[known, name][measure], seed
                    ).model_dump(),
                }
                for measure in _MEASURES
            }
            for name in _SOURCES
        }
        for known in requests
    }


def _scores(release: Release, by_known: dict[str, list[ShopRequest]]) -> dict[tuple[str, str], dict[str, Float64Array]]:
    with local_runner(release) as local:
        found = {}
        for known, requests in by_known.items():
            relevance = {str(number): request.bought for number, request in enumerate(requests)}
            for name, sources in _SOURCES.items():
                answers = local.first_stage.retrieve([_request(request, sources) for request in requests])
                listed = {str(number): answer.item_ids[:_DEPTH] for number, answer in enumerate(answers)}
                found[known, name] = evaluate(listed, relevance, _MEASURES)
        return found


def _request(request: ShopRequest, sources: Sequence[str]) -> Request:
    return Request(query=request.query, history_item_ids=request.history, limit=_DEPTH, sources=sources)


def _table(found: dict[str, dict[str, dict[str, Any]]]) -> Table:
    table = Table(
        title="The encoder fine-tuned on purchases, on validation", caption="gains are paired, 95 % intervals"
    )
    for column in ("request", "first stage", "measure", "base model", "fine-tuned", "gain"):
        table.add_column(column, justify="left" if column in {"request", "first stage", "measure"} else "right")
    for known, by_sources in found.items():
        for name, by_measure in by_sources.items():
            for measure, each in by_measure.items():
                gain = each["gain"]
                interval = f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
                table.add_row(
                    known, name, measure, f"{each['plain']['mean']:.4f}", f"{each['trained']['mean']:.4f}", interval
                )
    return table
