"""The demonstration: real purchases, a release built from them, three services, and what they recommend."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

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

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import Release
from common.server.channel import open_blocking_channel
from common.text import recent_distinct
from pipeline.build.builder import build
from pipeline.build.completion.gate import is_refused
from pipeline.data.adapters import prepare
from pipeline.data.dataset.report import render
from pipeline.evaluation.evaluation import EvaluationSettings, evaluate_release
from pipeline.local_services import LocalServices, local_services
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.questions.protocols import Question, Questions, discovery, make_questions, typed_questions
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.tables.replay import replay

_SOURCE: Final = "complete-journey"
_DEMO: Final = ".demo"
_HOUSEHOLDS: Final = 3
_SHOWN: Final = 8
_SEARCHES: Final = 6
_MEASURES: Final = ("ndcg@10", "hr@10", "recall@100")
_NO_DIFFERENCE: Final = "does not differ significantly from"
_TIMEOUT_S: Final = 20.0
# A laptop that also builds things must not cut answers short while quality is measured.
_LONG_TIMEOUTS: Final = {"SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "30", "SHORTLIST_RANKING_REQUEST_TIMEOUT_S": "30"}


@dataclass(frozen=True)
class Built:
    """A release of the demo's data, and what to measure it on.

    Attributes:
        release: The release, as of the moment that households are asked at.
        catalogue: Its items.
        questions: Households that nothing was learned from after the moment they are asked at.
        typed: Searches as people type them that nothing was learned from.
    """

    release: Release
    catalogue: Catalogue
    questions: Questions
    typed: Questions


def build_release(store: Path, settings: BuildSettings, report: ProgressReport) -> Built:
    """Prepare the demo's data and build a release of it; an existing one is reused."""
    with report.step("Preparing Complete Journey"):
        dataset = prepare(_SOURCE)
    report.console.print(render(dataset.report))
    release = build(dataset, store, settings, report)
    catalogue = Catalogue.open(release.file(CATALOGUE))
    report.console.print(f"Release [bold]{release.id}[/]: {len(catalogue):,} items, in {release.path}")
    questions = make_questions(dataset, release.manifest.settings, "temporal", users=None, seed=settings.seed)
    if questions.event_split is None:
        raise InvalidRequest("the demo's data has no times")
    report.console.print("Its tables count every event. Households are asked with tables that end at that moment:")
    asked = replay(release, dataset, questions.event_split.time, store / _DEMO / "replay", report)
    typed = typed_questions(dataset.items, "held-out")
    return Built(asked, catalogue, dataclasses.replace(questions, new_users=(), searches=()), typed)


def serve(built: Built, report: ProgressReport) -> AbstractContextManager[LocalServices]:
    """Run the three services on a release, patient enough to measure quality on a busy machine."""
    report.console.print("Starting retrieval, ranking and gateway …")
    return local_services(built.release.path, built.release.path.parent, _LONG_TIMEOUTS)


def measure(target: str, built: Built, report: ProgressReport) -> Evaluation:
    """Ask the gateway for every held-out household in each mode, and measure."""
    return evaluate_release(built.release, built.questions, EvaluationSettings(gateway=target), report)


def run_demo(store: Path, console: Console) -> bool:
    """Build, serve, show and measure; returns whether the gate let the release become the store's current one."""
    report, settings = ProgressReport(console), BuildSettings()
    console.rule("1. A release from real purchases")
    built = build_release(store, settings, report)
    console.rule("2. Three services, asked over gRPC")
    with serve(built, report) as services:
        _show(services.targets["gateway"], built, console)
        console.rule("3. Measured through the gateway on purchases held out")
        found = measure(services.targets["gateway"], built, report)
        settings_of = EvaluationSettings(gateway=services.targets["gateway"])
        others = [
            evaluate_release(built.release, questions, settings_of, report)
            for questions in (discovery(built.questions), built.typed)
        ]
    for evaluation in (found, *others):
        console.print(quality_table(evaluation))
    console.print(latency_table(found))
    _print_claims(found, built.release, console)
    if is_refused(built.release):
        console.print("The gate refused this release, so it is not the store's current one.")
        return False
    console.print(f"Keep it running with [bold]make serve RELEASE={store}[/], and call 127.0.0.1:50051.")
    return True


def _show(target: str, built: Built, console: Console) -> None:
    users = built.questions.main
    with open_blocking_channel(target) as channel:
        stub = RecommendationServiceStub(channel)
        for user in users[:: max(1, len(users) // _HOUSEHOLDS)][:_HOUSEHOLDS]:
            console.print(_household(stub, user, built.catalogue))
            console.print(_what_else(stub, user))
        for search in built.typed.main[:: max(1, len(built.typed.main) // _SEARCHES)][:_SEARCHES]:
            console.print(_search(stub, search))


def _household(stub: RecommendationServiceStub, user: Question, catalogue: Catalogue) -> Panel:
    """Show a household's history, and the orders of the first stage and of both stages."""
    first, second = (
        stub.Recommend(
            RecommendRequest(history_item_ids=user.history, limit=_SHOWN, explain=True, policy=Policy(stages=stages)),
            timeout=_TIMEOUT_S,
        )
        for stages in (Stages.STAGES_FIRST, Stages.STAGES_BOTH)
    )
    rows = catalogue.rows_of(user.history)
    titles = [catalogue.title(row) for row in recent_distinct(rows[rows >= 0].tolist(), _SHOWN)]
    history = f"[bold]Bought recently[/] (of {len(user.history)}): " + "; ".join(titles)
    note = "[green]●[/] bought in the following fortnight, which no model was trained on"
    table = _answer_table(second, user.relevant, [_marked(item, user.relevant) for item in first.items])
    return Panel(Group(history, table, note), title=f"Household {user.group}")


def _what_else(stub: RecommendationServiceStub, user: Question) -> Panel:
    """Show what a household may like that it has not bought before."""
    policy = Policy(exclude_history=True)
    request = RecommendRequest(history_item_ids=user.history, limit=_SHOWN, explain=True, policy=policy)
    table = _answer_table(stub.Recommend(request, timeout=_TIMEOUT_S), user.relevant)
    return Panel(table, title=f"Household {user.group}: what else, not what again")


def _search(stub: RecommendationServiceStub, search: Question) -> Panel:
    request = RecommendRequest(query=search.query, limit=_SHOWN, explain=True)
    table = _answer_table(stub.Recommend(request, timeout=_TIMEOUT_S), search.relevant)
    note = "[green]●[/] of a product type that the search was written for"
    return Panel(Group(table, note), title=f"“{search.query}”")


def _answer_table(answer: RecommendResponse, bought: Container[str], first_stage_items: Sequence[str] = ()) -> Table:
    """Show an answer of both stages, and the first stage's order if it is given."""
    table = Table(box=SIMPLE)
    if first_stage_items:
        table.add_column("first stage alone", ratio=3)
    table.add_column("both stages", ratio=3)
    table.add_column("probability", justify="right")
    table.add_column("was", justify="right")
    table.add_column("found by", ratio=2)
    table.add_column("because", ratio=3)
    for place, item in enumerate(answer.items):
        table.add_row(
            *first_stage_items[place : place + 1],
            _marked(item, bought),
            f"{item.probability:.3f}" if item.HasField("probability") else "–",
            str(item.first_stage_rank),
            ", ".join(score.source for score in item.sources),
            item.reasons[0].text if item.reasons else "",
        )
    for degradation in answer.degradations:
        table.caption = f"degraded: {degradation.detail}"
    return table


def _marked(item: RecommendedItem, bought: Container[str]) -> str:
    return ("[green]●[/] " if item.item_id in bought else "  ") + item.title


def quality_table(found: Evaluation) -> Table:
    """Return each mode's figures with their intervals."""
    table = Table(
        title=f"{found.questions} questions: {found.description}",
        caption="mean [95 % bootstrap interval over questions]; items outside the catalogue count as missed",
    )
    for column in ("", "NDCG@10", "HR@10", "recall@100", "coverage@10", "degraded"):
        table.add_column(column, justify="left" if not column else "right")
    for name, mode in found.modes.items():
        estimates = [mode.measures[measure] for measure in _MEASURES]
        means = [f"{one.mean:.4f} [{one.low:.3f}, {one.high:.3f}]" for one in estimates]
        table.add_row(name, *means, f"{mode.coverage:.3f}", str(mode.degraded))
    return table


def latency_table(found: Evaluation) -> Table:
    """Return each mode's median stage latencies."""
    table = Table(title="Median latency through the gateway, two callers, milliseconds")
    stages = list(next(iter(found.modes.values())).latency)
    for column in ("", *stages):
        table.add_column(column, justify="left" if not column else "right")
    for name, mode in found.modes.items():
        table.add_row(name, *(f"{mode.latency[stage].p50:.1f}" for stage in stages))
    return table


def _print_claims(found: Evaluation, release: Release, console: Console) -> None:
    """Print whether each mode beats the one before, and the cross-encoder's gain on validation."""
    for before, after in pairwise(found.modes):
        for measure in _MEASURES:
            gain = found.modes[after].over[before][measure]
            verdict = "[green]beats[/]" if gain.low > 0 else "[red]loses to[/]" if gain.high < 0 else _NO_DIFFERENCE
            interval = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
            console.print(f"{after} {verdict} {before}: {measure} {interval}, paired")
    validation = release.manifest.metrics["validation"]
    console.print("The stages on validation users (searches are made of purchases, newcomers unknown):")
    for name in ("first stage", "cross-encoder's order", "fusion without the logit", "fusion"):
        if name not in validation:  # the release has no cross-encoder
            continue
        console.print(f"  {name}: " + ", ".join(f"{what} {value:.4f}" for what, value in validation[name].items()))
