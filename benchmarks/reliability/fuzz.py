"""Does any input crash a server, make it answer with a fault, or hang it?

Every RPC that a server's reflection lists gets random messages made from its descriptor, a tenth of them damaged on
the wire. The release loader gets damaged files and manifests, `prepare` changed exports of shops. Each input follows
from its seed, which is printed with a fault. `SHORTLIST_FUZZ_MINUTES` (10) is divided among the three;
`SHORTLIST_SEED` begins another sequence.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor
from rich.console import Console
from rich.table import Table

from benchmarks.harness.record import Result, at_least, at_most
from benchmarks.reliability.fuzzed_files import fuzz_loader, fuzz_prepare
from common.server import event_loop
from common.server.channel import open_channel
from testing.fuzzing.rpcs import FuzzReport, fuzz_method, methods_of
from testing.local_server import LocalServer, local_server
from testing.tiny_shop import BRANDS, KINDS, SHELVES, build_tiny_release, tiny_items

_ROUND: Final = 40
# gRPC's own services have few inputs: they get a round for this many of the others.
_OTHERS_EVERY: Final = 10
_SHARES: Final = {"rpcs": 0.6, "loader": 0.2, "prepare": 0.2}


def run(quick: bool, console: Console) -> Result:
    """Fuzz all three; quick takes half a minute."""
    seconds = 30.0 if quick else 60.0 * float(os.environ.get("SHORTLIST_FUZZ_MINUTES", "10"))
    seed = os.environ.get("SHORTLIST_SEED", "0")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        release = build_tiny_release(folder)
        report = fuzz_servers(release, folder, seconds * _SHARES["rpcs"], seed)
        rpcs = sum(report.sent.values())
        loader = fuzz_loader(release, folder, seconds * _SHARES["loader"], seed, report)
        prepared = fuzz_prepare(folder, seconds * _SHARES["prepare"], seed, report)
    for fault in report.faults.values():
        console.print(fault, highlight=False, markup=False, style="red")
    figures = {
        "inputs": {"rpcs": rpcs, "loader": loader, "prepare": prepared},
        "inputs per second": {
            "rpcs": rpcs / (seconds * _SHARES["rpcs"]),
            "loader": loader / (seconds * _SHARES["loader"]),
            "prepare": prepared / (seconds * _SHARES["prepare"]),
        },
        "methods": dict(report.sent),
        "statuses": dict(report.statuses),
        "faults": report.faulty,
        "seed": seed,
    }
    thresholds = [
        at_most("inputs that crash, hang, or end in INTERNAL or UNKNOWN", 0, report.faulty),
        at_least("methods with inputs", 1, float(bool(report.sent) and min(report.sent.values()) > 0)),
    ]
    return Result(figures, thresholds, [_table("inputs by method", report.sent), _table("outcomes", report.statuses)])


def fuzz_servers(release: Path, folder: Path, seconds: float, seed: str) -> FuzzReport:
    """Send random inputs to every method of the three servers for some seconds, and at least one round of each."""
    report = FuzzReport()
    with ExitStack() as servers:
        quiet: dict[str, Any] = {"log-level": "error"}
        changes = {"release": release, "data-dir": folder / "changes"} | quiet
        retrieval = servers.enter_context(local_server("retrieval", changes, folder / "retrieval.log"))
        ranking = servers.enter_context(local_server("ranking", {"release": release} | quiet, folder / "ranking.log"))
        settings = {"retrieval-target": retrieval.target, "ranking-target": ranking.target}
        settings |= {"profiles": folder / "profiles.sqlite3"} | quiet
        gateway = servers.enter_context(local_server("gateway", settings, folder / "gateway.log"))
        words = _words(release)
        event_loop.run(_fuzz_rpcs([retrieval, ranking, gateway], words, seconds, seed, report))
    for log in folder.glob("*.log"):
        stacks = log.read_text(errors="replace").count("Traceback")
        if stacks:
            report.add_fault(log.name, seed, f"{stacks} stack traces: {log.read_text(errors='replace')[-900:]}")
    return report


async def _fuzz_rpcs(
    servers: list[LocalServer], words: list[str], seconds: float, seed: str, report: FuzzReport
) -> None:
    """Send rounds of inputs to every method of every server until the time is over; each must still run."""
    for server in servers:
        async with open_channel(server.target) as channel:
            methods = await methods_of(channel)
            ends_s = time.monotonic() + seconds / len(servers)
            for number in count():
                chosen = [method for method in methods if _is_ours(method) or number % _OTHERS_EVERY == 0]
                await asyncio.gather(*(fuzz_method(channel, method, words, _seeds(method, seed, number), report)
                                       for method in chosen))  # fmt: skip
                if time.monotonic() >= ends_s:
                    break
            if not server.is_running():
                report.add_fault(server.target, seed, "the server ended")


def _is_ours(method: MethodDescriptor) -> bool:
    """Return whether a method is of the contract, and not of gRPC's own health or reflection."""
    return bool(method.full_name.startswith("shortlist."))


def _seeds(method: MethodDescriptor, seed: str, number: int) -> list[str]:
    return [f"{seed}-{method.full_name}-{number}-{at}" for at in range(_ROUND)]


def _words(release: Path) -> list[str]:
    shop = [*SHELVES, *KINDS, *BRANDS, "red milk", "fresh bread"]
    names = ["brand", "category", "price", "available", "department", "semantic", "similar", "popular", "behaviour"]
    return [*tiny_items()["item_id"][:40], *shop, *names, "u1", "u2", "3.5", str(release), "CURRENT"]


def _table(title: str, counts: Counter[str]) -> Table:
    table = Table("what", "inputs", title=title)
    for name, inputs in sorted(counts.items()):
        table.add_row(name[:110], f"{inputs:,}")
    return table
