"""The demonstration: real purchases, a release built from them, three services, and what they recommend."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import grpc
from rich.box import SIMPLE
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from shortlist.gateway.v1.gateway_pb2 import (
    Policy,
    RecommendedItem,
    RecommendRequest,
    RecommendResponse,
    Stages,
)
from shortlist.gateway.v1.gateway_pb2_grpc import RecommendationServiceStub

from common.catalogue import Catalogue
from common.layout import CATALOGUE
from common.release import Release
from common.text import recent_distinct
from pipeline.build import build
from pipeline.build_settings import BuildSettings
from pipeline.data_report import render
from pipeline.evaluate import MODES, Measured, ask, compare
from pipeline.local_services import LocalServices, local_services
from pipeline.prepare import prepare
from pipeline.progress import ProgressReport
from pipeline.requests import Windows, draw_test
from pipeline.split import Example

_SOURCE: Final = "complete-journey"
_HOUSEHOLDS: Final = 3
_SHOWN: Final = 8
_QUERIES: Final = ("chocolate milk", "something for a baby")
_TIMEOUT_S: Final = 20.0
# A laptop that also builds things must not cut answers short while quality is measured.
_PATIENT: Final = {"SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "30", "SHORTLIST_RANKING_REQUEST_TIMEOUT_S": "30"}


@dataclass(frozen=True)
class Built:
    """A release of the demo's data, and whom to measure it on.

    Attributes:
        release: The release.
        catalogue: Its items.
        people: Households that nothing was learned from after the moment they are asked at.
        windows: The moments.
    """

    release: Release
    catalogue: Catalogue
    people: list[Example]
    windows: Windows


def build_release(store: Path, settings: BuildSettings, report: ProgressReport) -> Built:
    """Prepare the demo's data and build a release of it; one that was built before is used again."""
    with report.step("Preparing Complete Journey"):
        dataset = prepare(_SOURCE)
    report.console.print(render(dataset.report))
    release = build(dataset, store, settings, report)
    catalogue = Catalogue.open(release.file(CATALOGUE))
    report.console.print(f"Release [bold]{release.id}[/]: {len(catalogue):,} items, in {release.path}")
    windows = Windows.of(dataset.events, settings.window_days)
    people = draw_test(dataset.events, windows, settings.test_people, settings.seed)
    return Built(release, catalogue, people, windows)


def serve(built: Built, report: ProgressReport) -> AbstractContextManager[LocalServices]:
    """Run the three services on a release, patient enough to measure quality on a busy machine."""
    report.console.print("Starting retrieval, ranking and gateway …")
    return local_services(built.release.path, built.release.path.parent / ".demo", _PATIENT)


def measure(target: str, built: Built, seed: int, report: ProgressReport) -> dict[str, Measured]:
    """Ask the gateway for every held-out household in each mode, and compare."""
    runs = {}
    for mode, stages in MODES.items():
        people = built.people
        with report.step(f"Asking for {len(people)} households: {mode}", len(people)) as step:
            runs[mode] = asyncio.run(ask(target, people, stages, step))
    return compare(built.people, runs, len(built.catalogue), seed)


def run_demo(store: Path, console: Console) -> None:
    """Build, serve, show and measure."""
    report, settings = ProgressReport(console), BuildSettings()
    console.rule("1. A release from real purchases")
    built = build_release(store, settings, report)
    console.rule("2. Three services, asked over gRPC")
    with serve(built, report) as services:
        _show(services.targets["gateway"], built.people, built.catalogue, console)
        console.rule("3. Measured through the gateway on purchases held out")
        measured = measure(services.targets["gateway"], built, settings.seed, report)
    console.print(quality_table(measured, built.people, built.windows))
    console.print(latency_table(measured))
    _print_claims(measured, built.release, console)
    console.print(f"Keep it running with [bold]make serve RELEASE={store}[/], and call 127.0.0.1:50051.")


def _show(target: str, people: Sequence[Example], catalogue: Catalogue, console: Console) -> None:
    with grpc.insecure_channel(target) as channel:
        stub = RecommendationServiceStub(channel)
        for example in people[:: max(1, len(people) // _HOUSEHOLDS)][:_HOUSEHOLDS]:
            console.print(_household(stub, example, catalogue))
        for query in _QUERIES:
            console.print(_search(stub, query))


def _household(stub: RecommendationServiceStub, example: Example, catalogue: Catalogue) -> Panel:
    """Show a household's history, and the first stage's order beside the second's."""
    first, second = (
        stub.Recommend(
            RecommendRequest(
                history_item_ids=example.history, limit=_SHOWN, explain=True, policy=Policy(stages=stages)
            ),
            timeout=_TIMEOUT_S,
        )
        for stages in (Stages.STAGES_FIRST, Stages.STAGES_BOTH)
    )
    rows = catalogue.rows_of(example.history)
    titles = [catalogue.title(row) for row in recent_distinct(rows[rows >= 0].tolist(), _SHOWN)]
    history = f"[bold]Bought lately[/] (of {len(example.history)}): " + "; ".join(titles)
    note = "[green]●[/] bought in the fortnight that follows, which nothing learned from"
    table = _answer_table(second, example.held_out, [_marked(item, example.held_out) for item in first.items])
    return Panel(Group(history, table, note), title=f"Household {example.user_id}")


def _search(stub: RecommendationServiceStub, query: str) -> Panel:
    request = RecommendRequest(query=query, limit=_SHOWN, explain=True)
    return Panel(_answer_table(stub.Recommend(request, timeout=_TIMEOUT_S), set()), title=f"“{query}”")


def _answer_table(answer: RecommendResponse, bought: set[str], beside: Sequence[str] = ()) -> Table:
    """Show an answer of both stages, the first stage's order beside it where it is given."""
    table = Table(box=SIMPLE)
    if beside:
        table.add_column("first stage alone", ratio=3)
    table.add_column("both stages", ratio=3)
    table.add_column("probability", justify="right")
    table.add_column("was", justify="right")
    table.add_column("found by", ratio=2)
    table.add_column("because", ratio=3)
    for place, item in enumerate(answer.items):
        table.add_row(
            *beside[place : place + 1],
            _marked(item, bought),
            f"{item.probability:.3f}" if item.HasField("probability") else "–",
            str(item.first_stage_rank),
            ", ".join(score.source for score in item.sources),
            item.reasons[0].text if item.reasons else "",
        )
    for degradation in answer.degradations:
        table.caption = f"degraded: {degradation.detail}"
    return table


def _marked(item: RecommendedItem, bought: set[str]) -> str:
    return ("[green]●[/] " if item.item_id in bought else "  ") + item.title


def quality_table(measured: Mapping[str, Measured], people: Sequence[Example], windows: Windows) -> Table:
    """Return each mode's figures with their intervals."""
    days = windows.length.days
    table = Table(
        title=f"{len(people)} households, what each bought in the {days} days from {windows.test:%Y-%m-%d}",
        caption="mean [95 % bootstrap interval over households]; purchases outside the catalogue count as missed",
    )
    for column in ("", "NDCG@10", "HR@10", "recall@100", "coverage@10", "degraded"):
        table.add_column(column, justify="left" if not column else "right")
    for mode, figures in measured.items():
        means = [f"{mean:.4f} [{low:.3f}, {high:.3f}]" for mean, low, high in figures.means.values()]
        table.add_row(mode, *means, f"{figures.coverage:.3f}", str(figures.degraded))
    return table


def latency_table(measured: Mapping[str, Measured]) -> Table:
    """Return each mode's median stage latencies."""
    table = Table(title="Median latency through the gateway, two callers, milliseconds")
    stages = list(next(iter(measured.values())).median_ms)
    for column in ("", *stages):
        table.add_column(column, justify="left" if not column else "right")
    for mode, figures in measured.items():
        table.add_row(mode, *(f"{figures.median_ms[stage]:.1f}" for stage in stages))
    return table


def _print_claims(measured: Mapping[str, Measured], release: Release, console: Console) -> None:
    """Say of each step whether it beats the one before, and what the text ranker adds on validation."""
    modes = list(measured)
    for before, after in pairwise(modes):
        for measure, (mean, low, high) in (measured[after].gain or {}).items():
            verdict = "[green]beats[/]" if low > 0 else "is not told apart from" if high > 0 else "[red]loses to[/]"
            console.print(f"{after} {verdict} {before}: {measure} {mean:+.4f} [{low:+.4f}, {high:+.4f}], paired")
    validation = release.manifest.metrics["validation"]
    console.print(
        "What the cross-encoder adds, on validation people (searches are made of purchases, newcomers unknown):"
    )
    for name in ("first stage", "cross-encoder's order", "fusion without the logit", "fusion"):
        console.print(f"  {name}: " + ", ".join(f"{what} {value:.4f}" for what, value in validation[name].items()))
