"""Does a shop get better by learning from what it shows? Rounds of serve, log and train for users of known tastes.

Each round serves a release through the gateway to simulated users, logs what is shown and chosen, and builds the next
release from the log. The true reward of a release is what its answers get on average, which the simulation knows.

Three shops begin with one release, trained on choices from lists of popular items. *Loop* fills a share of the
positions at random. *Without random positions* learns from its own answers alone. *Popularity-fed* goes on showing
popular items, and trains on as many visits. The last release of the loop is also estimated from the log before it is
served, and compared with the truth.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import polars as pl
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.gateway.closed_loop_report import Arm, Choice, loop_result
from benchmarks.harness.record import Result
from common.errors import NotReady
from common.release.store import Release, open_release
from common.server import event_loop
from common.server.channel import open_channel
from pipeline.build.builder import build
from pipeline.data.adapters import prepare
from pipeline.data.impressions.log_reader import read_log
from pipeline.local_services import local_services
from pipeline.measurement.questions.answers import BOTH
from pipeline.measurement.questions.local_runner import local_runner
from pipeline.measurement.questions.protocols import Question
from pipeline.off_policy.estimation import OffPolicyResult, estimate_value, usable_answers
from pipeline.off_policy.target import target_answers
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from services.gateway.profiles.pseudonyms import read_key
from testing.online.impression_logs import answer_record, event_record, write_log
from testing.online.simulated_shop import POSITIONS, SimulatedShop
from testing.tiny_shop import tiny_base_model

_SHARE: Final = 0.4
_POOL: Final = 8
_ROUNDS: Final = 3
_CALLERS: Final = 8
_TIMEOUT_S: Final = 30.0
_DAY_S: Final = 86_400
_DAYS: Final = 100
_LOOP, _GREEDY, _POPULAR = "loop", "without random positions", "popularity-fed"


@dataclass(frozen=True)
class _Size:
    """How much is simulated: users, visits of each in a round, and answers to estimate from."""

    users: int
    visits: int
    estimated: int


def run(quick: bool, console: Console) -> Result:
    """Run three rounds; quick has fewer users and visits, and no shop without random positions."""
    size = _Size(80, 6, 1_000) if quick else _Size(200, 8, 4_800)
    shop, began = SimulatedShop(size.users), time.monotonic()
    report = ProgressReport(Console(quiet=True))
    with tempfile.TemporaryDirectory(prefix="closed-loop-") as name:
        folder = Path(name)
        (folder / "model").mkdir()
        settings = _settings(tiny_base_model(folder / "model"))
        greedy = [] if quick else [Arm(_GREEDY, folder / "greedy")]
        arms = [Arm(_LOOP, folder / "loop", _SHARE), *greedy, Arm(_POPULAR, folder / "popular")]
        first = _first_choices(shop, size)
        start = _build_from(_popular_log(folder / "first", first), folder / "first-release", shop, settings, report)
        for arm in arms:
            arm.choices = list(first)
            arm.rewards.append(_true_rewards(shop, start, arm.choices))
        for arm in arms[:-1]:
            release = start
            for number in range(1, _ROUNDS + 1):
                with console.status(f"{arm.name}, round {number}"):
                    event_loop.run(_serve(shop, arm, release, size, number))
                    release = _build_from(arm.folder, arm.folder / f"release-{number}", shop, settings, report)
                    arm.rewards.append(_true_rewards(shop, release, arm.choices))
        _feed_popular(shop, arms[-1], size, settings, report)
        estimated, truth = _estimate(
            shop, arms[0], open_release(str(folder / "loop" / f"release-{_ROUNDS}")), size, report
        )
    return loop_result(shop, arms, estimated, truth, time.monotonic() - began)


def _settings(model: Path) -> BuildSettings:
    return BuildSettings.from_recipe(
        "sequences",
        base_model=str(model),
        cross_encoder_depth=0,
        candidates=60,
        training_requests=600,
        valid_users=40,
        test_users=20,
        trees=60,
        boosters=1,
        query_share=0.0,
    )


def _first_choices(shop: SimulatedShop, size: _Size) -> list[Choice]:
    """Return what users chose from lists of what was popular, which begins with a few items by chance."""
    generator = np.random.default_rng(1)
    counts = Counter(dict.fromkeys(generator.choice(shop.item_ids, 20, replace=False).tolist(), 1))
    return _from_popular_lists(shop, counts, size.visits, 0, generator)


def _from_popular_lists(
    shop: SimulatedShop, counts: Counter[str], visits: int, number: int, generator: np.random.Generator
) -> list[Choice]:
    choices = []
    for visit in range(visits):
        popular = [item for item, _ in counts.most_common(POSITIONS)]
        for user in range(shop.users):
            chosen = shop.choose(user, popular, generator)
            choices += [Choice(user, item, _time_s(number, visit, visits)) for item in chosen]
            counts.update(chosen)
    return choices


def _time_s(number: int, visit: int, visits: int) -> float:
    """Return when a visit of a round happens: rounds fill the last days before today, so that none lies ahead."""
    return time.time() - _DAY_S * _DAYS * (1 - (number + visit / visits) / (_ROUNDS + 1)) - _DAY_S


def _popular_log(folder: Path, choices: Sequence[Choice]) -> Path:
    events = [
        event_record(f"e{number}", choice.item, user=f"u{choice.user}", at_us=round(choice.at_s * 1e6))
        for number, choice in enumerate(choices)
    ]
    return write_log(folder, [answer_record("none", []), *events])


def _build_from(
    log: Path, store: Path, shop: SimulatedShop, settings: BuildSettings, report: ProgressReport
) -> Release:
    shop.items.write_parquet(log / "items.parquet")
    return build(prepare("events-log", log), store, settings, report, force=True)


def _true_rewards(
    shop: SimulatedShop, release: Release, choices: Sequence[Choice]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what a release's own answers get from each user on average; float64 [users]."""
    histories: list[list[str]] = [[] for _ in range(shop.users)]
    for choice in sorted(choices, key=lambda choice: choice.at_s):
        histories[choice.user].append(choice.item)
    questions = [Question(str(user), str(user), history, "", {}) for user, history in enumerate(histories)]
    with local_runner(release) as runner, ProgressReport(Console(quiet=True)).step("Asking") as step:
        answers = runner.answer_questions(questions, BOTH, POSITIONS, step)
    return np.array([shop.reward(user, answers[str(user)].item_ids) for user in range(shop.users)])


async def _serve(shop: SimulatedShop, arm: Arm, release: Release, size: _Size, number: int) -> None:
    """Serve a release to every user, who chooses from each answer; what was chosen is recorded."""
    settings = {
        "SHORTLIST_GATEWAY_IMPRESSIONS_LOG": str(arm.folder / "log"),
        "SHORTLIST_GATEWAY_EXPLORATION_SHARE": str(arm.share),
        "SHORTLIST_GATEWAY_EXPLORATION_CANDIDATES": str(_POOL),
    }
    generator = np.random.default_rng(100 + number)
    with local_services(release.path, arm.folder, settings) as services:
        async with open_channel(services.targets["gateway"]) as channel:
            stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
            await _await_both_stages(stub)
            if number == 1:
                await _record(stub, arm.choices, [""] * len(arm.choices))
            places = asyncio.Semaphore(_CALLERS)

            async def visit(user: int, at_s: float) -> None:
                async with places:
                    request = gateway_pb2.RecommendRequest(user_id=f"u{user}", limit=POSITIONS)
                    answer = await stub.Recommend(request, timeout=_TIMEOUT_S)
                    items = [item.item_id for item in answer.items]
                    choices = [Choice(user, item, at_s) for item in shop.choose(user, items, generator)]
                    await _record(stub, choices, [answer.request_id] * len(choices))
                    arm.choices += choices

            for turn in range(size.visits):
                at_s = _time_s(number, turn, size.visits)
                await asyncio.gather(*(visit(user, at_s) for user in range(shop.users)))


async def _await_both_stages(stub: Any) -> None:
    """Wait until the gateway has found both services: it begins to serve before they do."""
    request = gateway_pb2.RecommendRequest(limit=1)
    ends = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < ends:
        with suppress(grpc.aio.AioRpcError):
            if not (await stub.Recommend(request, timeout=_TIMEOUT_S)).degradations:
                return
        await asyncio.sleep(0.1)
    raise NotReady("the services do not answer")


async def _record(stub: Any, choices: Sequence[Choice], request_ids: Sequence[str]) -> None:
    events = [
        gateway_pb2.Event(
            event_id=f"{choice.user}-{choice.item}-{choice.at_s}",
            user_id=f"u{choice.user}",
            item_id=choice.item,
            kind=gateway_pb2.EVENT_KIND_VIEW,
            occurred_at=Timestamp(seconds=int(choice.at_s)),
            request_id=request_id,
        )
        for choice, request_id in zip(choices, request_ids, strict=True)
    ]
    for begin in range(0, len(events), 1_000):
        await stub.RecordEvents(
            gateway_pb2.RecordEventsRequest(events=events[begin : begin + 1_000]), timeout=_TIMEOUT_S
        )


def _feed_popular(shop: SimulatedShop, arm: Arm, size: _Size, settings: BuildSettings, report: ProgressReport) -> None:
    generator = np.random.default_rng(2)
    counts = Counter(choice.item for choice in arm.choices)
    for number in range(1, _ROUNDS + 1):
        arm.choices += _from_popular_lists(shop, counts, size.visits, number, generator)
    release = _build_from(_popular_log(arm.folder, arm.choices), arm.folder / "release", shop, settings, report)
    arm.rewards.append(_true_rewards(shop, release, arm.choices))


def _estimate(
    shop: SimulatedShop, arm: Arm, release: Release, size: _Size, report: ProgressReport
) -> tuple[OffPolicyResult, float]:
    """Return the estimate of a release from the log, and what its answers truly get on average."""
    tables = read_log([arm.folder / "log"])
    tables = replace(tables, answers=tables.answers.filter(pl.col("user") != ""))  # without those before the visits
    usable = usable_answers(tables, size.estimated)
    targets = target_answers(release, usable.answers, report, within_pool=True)
    pseudonyms = read_key(arm.folder / "profiles.sqlite3.key")
    user_of = {pseudonyms.of_user(f"u{user}"): user for user in range(shop.users)}
    users = [user_of[pseudonym] for pseudonym in usable.answers["user"]]
    truth = float(np.mean([shop.reward(user, items) for user, items in zip(users, targets, strict=True)]))
    return estimate_value(tables, usable, targets, "view"), truth
