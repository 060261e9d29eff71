"""What does TLS cost `Recommend`?

The three services run twice on a tiny release, once in the clear and once with mutual TLS on every connection. The same
callers load one and then the other, in turns, so that whatever else the machine does meets both. Connections are kept.
The tiny release makes the rest of a call cheap, and so TLS's share of it large.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import grpc
from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.harness.record import Result, at_least
from common.server import event_loop
from common.server.access.channel_security import ChannelSecurity
from common.server.channel import open_channel
from pipeline.local_services import local_services
from testing.security.certificates import Authority
from testing.tiny_shop import USERS, build_tiny_release

_CALLERS: Final = 8
_TIMEOUT_S: Final = 10.0
_MIN_SHARE: Final = 0.9
Target = tuple[str, ChannelSecurity | None]


def run(quick: bool, console: Console) -> Result:
    """Load both in turns; quick makes fewer and shorter turns."""
    del console
    with tempfile.TemporaryDirectory(prefix="tls-") as name, ExitStack() as servers:
        folder = Path(name)
        release = build_tiny_release(folder)
        authority = Authority(folder)
        files, client = authority.issue("services"), authority.client("caller")
        tls = {
            "SHORTLIST_LOCAL_TLS_CERTIFICATE": str(files.certificate),
            "SHORTLIST_LOCAL_TLS_KEY": str(files.key),
            "SHORTLIST_LOCAL_TLS_CA": str(authority.file),
            "SHORTLIST_LOCAL_TLS_CLIENT_CA": str(authority.file),
        }
        clear = servers.enter_context(local_services(release, folder / "clear"))
        secured = servers.enter_context(local_services(release, folder / "secured", tls, client))
        targets: dict[str, Target] = {
            "in the clear": (clear.targets["gateway"], None),
            "mutual TLS": (secured.targets["gateway"], client),
        }
        rates = event_loop.run(_measure(targets, turns=3 if quick else 15, turn_s=2.0 if quick else 5.0))
    return _result(rates)


async def _measure(targets: dict[str, Target], *, turns: int, turn_s: float) -> dict[str, list[float]]:
    """Return the answers a second of each target, by turn; the first turn of each only warms it up."""
    rates: dict[str, list[float]] = {name: [] for name in targets}
    channels = {name: open_channel(target, security) for name, (target, security) in targets.items()}
    for turn in range(turns + 1):
        # Each goes first in every other turn.
        for name in sorted(channels, reverse=turn % 2 == 1):
            rate = await _answers_a_second(channels[name], turn_s)
            if turn:
                rates[name].append(rate)
    for channel in channels.values():
        await channel.close()
    return rates


async def _answers_a_second(channel: grpc.aio.Channel, seconds: float) -> float:
    stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
    ends_s = time.monotonic() + seconds

    async def call_again_and_again(caller: int) -> int:
        answered = 0
        while time.monotonic() < ends_s:
            request = gateway_pb2.RecommendRequest(user_id=f"u{(caller + answered) % USERS}")
            await stub.Recommend(request, timeout=_TIMEOUT_S)
            answered += 1
        return answered

    began_s = time.monotonic()
    answers = await asyncio.gather(*map(call_again_and_again, range(_CALLERS)))
    return sum(answers) / (time.monotonic() - began_s)


def _result(rates: dict[str, list[float]]) -> Result:
    ratios = [secured / clear for secured, clear in zip(rates["mutual TLS"], rates["in the clear"], strict=True)]
    share = statistics.median(ratios)
    figures = {f"answers a second, {name}": statistics.median(values) for name, values in rates.items()}
    figures |= {"mutual TLS / in the clear, median": share, "lowest turn": min(ratios), "highest turn": max(ratios)}
    table = Table("figure", "value", title=f"{len(ratios)} turns, {_CALLERS} callers")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    return Result(figures, [at_least("answers with TLS / without", _MIN_SHARE, share)], [table])
