"""What does fine-tuning the encoder on purchases bring? Complete Journey, on validation: never the test's users.

Two releases alike but for the encoder are asked the same: users at the validation moment, by their history and by
searches made of titles of what they went on to buy. The first stage answers by the source `semantic` alone and by all
sources; what both stages reach stands in the manifests.
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
from pipeline.data.dataset.training_requests import ShopRequest, Windows, draw_users, simulate_cold_start
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.local_runner import engines
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from services.retrieval.candidates.request import Request

_PLAIN: Final = Path("releases/complete-journey")
_TRAINED: Final = Path("releases/complete-journey-encoder")
_USERS: Final = 600
_QUICK_USERS: Final = 60
_DEPTH: Final = 100
_MEASURES: Final = ("recall@100", "ndcg@10")
_SOURCES: Final[dict[str, tuple[str, ...]]] = {"semantic alone": ("semantic",), "every source": ()}


def run(quick: bool, console: Console) -> Result:
    """Build or reuse both releases and compare them; quick asks fewer users."""
    report, settings = ProgressReport(console), BuildSettings()
    with report.step("Preparing complete-journey"):
        dataset = prepare("complete-journey", None)
    plain = build(dataset, _PLAIN, settings, report)
    trained = build(dataset, _TRAINED, settings.encoder_trained(1), report)
    asked = draw_asked(dataset, settings, _QUICK_USERS if quick else _USERS)
    found = compare(plain, trained, asked, settings.seed)
    stages = {name: one.manifest.metrics["validation"] for name, one in (("plain", plain), ("trained", trained))}
    figures = {"first stage": found, "validation": stages, "build_s": trained.manifest.metrics["build_s"]}
    return Result(figures, [], [_table(found)])


def draw_asked(dataset: Dataset, settings: BuildSettings, users: int) -> dict[str, list[ShopRequest]]:
    """Return what users are asked at the validation moment, by what is known of them.

    Args:
        dataset: The shop's data.
        settings: Those of the releases, whose test's users are left out.
        users: How many at most.
    """
    windows = Windows.of(dataset.events, settings.window_days)
    drawn = draw_users(
        dataset.events, windows, train=0, valid=users, test=settings.test_users, seed=settings.seed
    ).valid
    titles = dict(dataset.items.select("item_id", "title").iter_rows())
    searches = simulate_cold_start(drawn, titles, searches=1.0, newcomers=0.0, seed=settings.seed)
    return {"histories": drawn, "searches": [request for request in searches if request.query]}


def compare(
    plain: Release, trained: Release, asked: dict[str, list[ShopRequest]], seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by what is known, by sources and by measure: both means, and the paired difference.

    Args:
        plain: The release with the base encoder.
        trained: The one with the fine-tuned encoder.
        asked: Requests by what is known.
        seed: Of the intervals.
    """
    before, after = _scores(plain, asked), _scores(trained, asked)
    return {
        known: {
            name: {
                measure: {
                    "plain": Estimate.of(before[known, name][measure], seed).model_dump(),
                    "trained": Estimate.of(after[known, name][measure], seed).model_dump(),
                    "gain": Difference.between(
                        after[known, name][measure], before[known, name][measure], seed
                    ).model_dump(),
                }
                for measure in _MEASURES
            }
            for name in _SOURCES
        }
        for known in asked
    }


def _scores(release: Release, asked: dict[str, list[ShopRequest]]) -> dict[tuple[str, str], dict[str, Float64Array]]:
    with engines(release) as local:
        found = {}
        for known, requests in asked.items():
            relevance = {str(number): request.bought for number, request in enumerate(requests)}
            for name, sources in _SOURCES.items():
                answers = local.first.retrieve([_request(request, sources) for request in requests])
                listed = {str(number): answer.item_ids[:_DEPTH] for number, answer in enumerate(answers)}
                found[known, name] = evaluate(listed, relevance, _MEASURES)
        return found


def _request(request: ShopRequest, sources: Sequence[str]) -> Request:
    return Request(query=request.query, history_item_ids=request.history, limit=_DEPTH, sources=sources)


def _table(found: dict[str, dict[str, dict[str, Any]]]) -> Table:
    table = Table(
        title="The encoder fine-tuned on purchases, on validation", caption="gains are paired, 95 % intervals"
    )
    for column in ("asked by", "first stage", "measure", "base model", "fine-tuned", "gain"):
        table.add_column(column, justify="left" if column in {"asked by", "first stage", "measure"} else "right")
    for known, by_sources in found.items():
        for name, by_measure in by_sources.items():
            for measure, each in by_measure.items():
                gain = each["gain"]
                interval = f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
                table.add_row(
                    known, name, measure, f"{each['plain']['mean']:.4f}", f"{each['trained']['mean']:.4f}", interval
                )
    return table
