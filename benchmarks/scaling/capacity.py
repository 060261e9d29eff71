"""What does a call cost here, and what does a load need? Coefficients of this machine, and pods by the capacity model.

The processor time of each process is read before and after eight callers called for a while, one occasion after
another. Then all occasions are called together as fast as they are answered, and the answers a second are compared with
what the coefficients predict for the cores that other programs leave.

Environment: `SHORTLIST_CAPACITY_RELEASE` (default: the demo's), and for the plan `…_CALLS_PER_S` (1000), `…_MIX`,
`…_PAIRS`, `…_LATE_CANDIDATES` and `…_CANDIDATES` of a call, `…_ITEMS`, `…_POD_CORES` (4), `…_UTILISATION` (0.6),
`…_CPU_FACTOR` (1), `…_CORE_HOUR` and `…_GB_HOUR` (prices).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.harness.record import Result, at_most
from benchmarks.scaling.capacity_model import (
    CANDIDATES,
    SERVICES,
    Coefficients,
    PlannedLoad,
    PodPlan,
    pods_for,
    saturation_per_s,
)
from benchmarks.scaling.tier_costs import tier_costs
from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import Release, open_release
from common.server import event_loop
from common.server.channel import open_channel
from pipeline.measurement.questions.load_requests import LoadMix, load_requests
from testing.local_server import LocalServer, local_server

_PREFIX: Final = "SHORTLIST_CAPACITY_"
_MIX: Final = "history=0.6,query=0.2,both=0.1,new_user=0.1"
_CALLERS: Final = 8
_REQUESTS: Final = 3_000
_TIMEOUT_S: Final = 20.0
_MANY_CANDIDATES: Final = 500
_PHASE_S: Final = 12.0
_QUICK_PHASE_S: Final = 3.0


@dataclass(frozen=True)
class Phase:
    """Calls for a while.

    Attributes:
        per_s: Answers a second.
        core_ms: Processor time of a call by service, in core-ms, and of `client`.
        degraded: Degraded answers.
        others_cores: Cores that other programs of the machine used meanwhile.
    """

    per_s: float
    core_ms: Mapping[str, float]
    degraded: int
    others_cores: float


def run(quick: bool, console: Console) -> Result:
    """Serve the release, measure it and print the plan; quick measures a quarter of the time."""
    release = open_release(os.environ.get(f"{_PREFIX}RELEASE", "releases/complete-journey"))
    shares = _shares(os.environ.get(f"{_PREFIX}MIX", _MIX))
    phase_s = _QUICK_PHASE_S if quick else _PHASE_S
    with tempfile.TemporaryDirectory() as folder, _servers(release, Path(folder)) as servers:
        costs, client_ms = event_loop.run(_coefficients(release, servers, shares, phase_s, console))
        mixed = list(load_requests(release, LoadMix(shares), _REQUESTS, seed=1))
        measured = event_loop.run(_calls(servers, mixed, 4 * _CALLERS, phase_s))
    load = _planned(shares, len(Catalogue.open(release.file(CATALOGUE))))
    as_measured = PlannedLoad(1.0, shares)
    cores = len(os.sched_getaffinity(0)) - measured.others_cores
    predicted = saturation_per_s(costs, as_measured, cores, client_ms)
    plan = pods_for(costs, load)
    figures = {
        "release": release.id,
        "coefficients": asdict(costs) | {"client core_ms": client_ms},
        "saturation": {"measured": measured.per_s, "predicted": predicted, "degraded answers": measured.degraded}
        | {"cores left by other programs": cores},
        "load": asdict(load),
        "plan": {service: asdict(pods) for service, pods in plan.items()},
        "load average": os.getloadavg()[0],
    }
    difference = abs(predicted - measured.per_s) / measured.per_s
    thresholds = [at_most("difference of predicted and measured saturation, share", 0.2, difference)]
    return Result(figures, thresholds, [_cost_table(costs, client_ms), _plan_table(plan, load)])


@contextmanager
def _servers(release: Release, folder: Path) -> Iterator[dict[str, LocalServer]]:
    with ExitStack() as stack:
        timeout: dict[str, Any] = {"request-timeout-s": _TIMEOUT_S}
        servers = {
            service: stack.enter_context(
                local_server(service, timeout | {"release": release.path}, folder / f"{service}.log")
            )
            for service in ("retrieval", "ranking")
        }
        flags: dict[str, Any] = {f"{name}-target": server.target for name, server in servers.items()}
        flags |= {"profiles": folder / "profiles.sqlite3", "default-timeout-s": _TIMEOUT_S}
        servers["gateway"] = stack.enter_context(local_server("gateway", flags | timeout, folder / "gateway.log"))
        yield servers


async def _coefficients(
    release: Release, servers: dict[str, LocalServer], shares: Mapping[str, float], phase_s: float, console: Console
) -> tuple[Coefficients, float]:
    """Measure each occasion, then more candidates, then the text tiers."""
    phases = {}
    for occasion in shares:
        requests = list(load_requests(release, LoadMix({occasion: 1.0}), _REQUESTS, seed=0))
        await _calls(servers, requests, _CALLERS, phase_s / 3)  # warm up
        phases[occasion] = await _calls(servers, requests, _CALLERS, phase_s)
        console.print(f"{occasion}: {phases[occasion].per_s:.0f} answers/s")
    first = next(iter(shares))
    many = list(load_requests(release, LoadMix({first: 1.0}, limit=_MANY_CANDIDATES // 2), _REQUESTS, seed=2))
    wide = await _calls(servers, many, _CALLERS, phase_s)
    more = _MANY_CANDIDATES - CANDIDATES
    candidate_ms = {
        service: max(0.0, (wide.core_ms[service] - phases[first].core_ms[service]) / more) for service in SERVICES
    }
    tiers = await tier_costs(release, servers["ranking"], phase_s)
    total = sum(shares.values())
    client_ms = sum(share * phases[name].core_ms["client"] for name, share in shares.items()) / total
    memory_mb = {service: server.memory_bytes() / 1e6 for service, server in servers.items()}
    core_ms = {name: {service: phase.core_ms[service] for service in SERVICES} for name, phase in phases.items()}
    costs = Coefficients(core_ms, candidate_ms, tiers.pair_ms, tiers.late_ms, memory_mb, memory_mb["gateway"])
    return costs, client_ms


async def _calls(
    servers: dict[str, LocalServer], requests: Sequence[Mapping[str, Any]], callers: int, seconds: float
) -> Phase:
    """Call as fast as calls are answered, for some seconds."""
    messages = cycle([json_format.ParseDict(dict(one), gateway_pb2.RecommendRequest()) for one in requests])
    answers, degraded = 0, 0

    async def caller(stub: Any, ends_s: float) -> None:
        nonlocal answers, degraded
        while time.perf_counter() < ends_s:
            answer = await stub.Recommend(next(messages), timeout=_TIMEOUT_S)
            answers += 1
            degraded += bool(answer.degradations)

    async with open_channel(servers["gateway"].target) as channel:
        stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
        before = {name: server.cpu_s() for name, server in servers.items()} | {"client": time.process_time()}
        began_s, busy_s = time.perf_counter(), _busy_s()
        await asyncio.gather(*(caller(stub, began_s + seconds) for _ in range(callers)))
        took_s = time.perf_counter() - began_s
        busy_s = _busy_s() - busy_s
        after = {name: server.cpu_s() for name, server in servers.items()} | {"client": time.process_time()}
    used_s = {name: after[name] - before[name] for name in after}
    core_ms = {name: used * 1e3 / answers for name, used in used_s.items()}
    return Phase(answers / took_s, core_ms, degraded, max(0.0, (busy_s - sum(used_s.values())) / took_s))


def _busy_s() -> float:
    """Return the processor time that all programs of the machine have used."""
    user, nice, system, _, _, interrupts, soft_interrupts = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")


def _planned(shares: Mapping[str, float], items: int) -> PlannedLoad:
    def number(name: str, default: float) -> float:
        text = os.environ.get(f"{_PREFIX}{name}", str(default))
        try:
            return float(text)
        except ValueError:
            raise InvalidRequest(f"{_PREFIX}{name}: {text!r} is no number") from None

    return PlannedLoad(
        number("CALLS_PER_S", 1_000),
        shares,
        int(number("CANDIDATES", CANDIDATES)),
        number("PAIRS", 0),
        number("LATE_CANDIDATES", 0),
        number("ITEMS", items) / items,
        int(number("POD_CORES", 4)),
        number("UTILISATION", 0.6),
        number("CPU_FACTOR", 1),
        number("CORE_HOUR", 0.04),
        number("GB_HOUR", 0.005),
    )


def _shares(text: str) -> dict[str, float]:
    try:
        return {name: float(share) for name, share in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise InvalidRequest(f"{_PREFIX}MIX: {text!r} is not occasion=share,…") from None


def _cost_table(costs: Coefficients, client_ms: float) -> Table:
    title = f"core-ms of a call, {CANDIDATES} candidates; client {client_ms:.2f}; load average {os.getloadavg()[0]:.1f}"
    table = Table("occasion", *SERVICES, title=title)
    for occasion, found in costs.core_ms.items():
        table.add_row(occasion, *(f"{found[service]:.2f}" for service in SERVICES))
    table.add_row("each candidate more", *(f"{costs.candidate_ms[service]:.4f}" for service in SERVICES))
    table.add_row("each pair read", "", "", f"{costs.pair_ms:.3f}" if costs.pair_ms else "no cross-encoder")
    table.add_row("each late candidate", "", "", f"{costs.late_ms:.4f}" if costs.late_ms else "no late interaction")
    table.add_row("memory, MB", *(f"{costs.memory_mb[service]:.0f}" for service in SERVICES))
    return table


def _plan_table(plan: Mapping[str, PodPlan], load: PlannedLoad) -> Table:
    title = f"{load.calls_per_s:g} calls/s at {load.utilisation:.0%} of pods of {load.pod_cores} cores"
    table = Table("service", "core-ms of a call", "pods", "cores", "GB a pod", "a month", title=title)
    for service, pods in plan.items():
        cells = (
            f"{pods.core_ms:.2f}",
            f"{pods.pods}",
            f"{pods.cores}",
            f"{pods.memory_mb / 1e3:.2f}",
            f"{pods.month:,.0f}",
        )
        table.add_row(service, *cells)
    cores, month = sum(pods.cores for pods in plan.values()), sum(pods.month for pods in plan.values())
    table.add_row("all", "", str(sum(pods.pods for pods in plan.values())), str(cores), "", f"{month:,.0f}")
    return table
