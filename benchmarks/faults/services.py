"""The three services with a tiny release, and what they count."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testing.local_server import LocalServer, local_server
from testing.tiny_shop import build_tiny_release

_SAMPLE: Final = re.compile(r'shortlist_(\w+?)_requests_total\{code="(\w+)",method="([^"]*)"\} (\S+)')
_IN_FLIGHT: Final = re.compile(r"^shortlist_\w+_requests_in_flight (\S+)$", re.MULTILINE)
_POLL_S: Final = 0.2
_QUIET_S: Final = 2.0


@dataclass(frozen=True)
class Services:
    """Running services.

    Attributes:
        retrieval: The first stage.
        ranking: The second stage.
        gateway: The gateway.
        folder: Their files.
    """

    retrieval: LocalServer
    ranking: LocalServer
    gateway: LocalServer
    folder: Path


@contextmanager
def tiny_release() -> Iterator[Path]:
    """Yield a store with a tiny release."""
    with tempfile.TemporaryDirectory(prefix="faults-release-") as name:
        yield build_tiny_release(Path(name))


@contextmanager
def services(release: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Services]:
    """Run the services with a release while the body runs; ``settings`` are the gateway's."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name, ExitStack() as servers:
        folder = Path(name)
        changes = {"release": release, "data-dir": folder / "changes"}
        retrieval = servers.enter_context(local_server("retrieval", changes, folder / "retrieval.log"))
        ranking = servers.enter_context(local_server("ranking", {"release": release}, folder / "ranking.log"))
        targets = {"retrieval-target": retrieval.target, "ranking-target": ranking.target}
        of_gateway = targets | {"profiles": folder / "profiles.sqlite3"} | dict(settings or {})
        gateway = servers.enter_context(local_server("gateway", of_gateway, folder / "gateway.log"))
        yield Services(retrieval, ranking, gateway, folder)


async def metrics_text(server: LocalServer) -> str:
    """Return a server's metrics."""

    def read() -> str:
        return str(urllib.request.urlopen(f"http://{server.metrics}/metrics").read().decode())

    return await asyncio.to_thread(read)


async def counted_calls(server: LocalServer, method: str) -> Counter[str]:
    """Return how many calls of a method ended with each status, once no call is in progress and none is accepted.

    After a burst, calls that have ended wait in gRPC's queue until the server accepts and counts them.
    """
    counts, quiet_since_s = Counter[str](), time.monotonic()
    while time.monotonic() - quiet_since_s < _QUIET_S:
        text = await metrics_text(server)
        found = (each for each in _SAMPLE.findall(text) if each[2].endswith(f"/{method}"))
        latest = Counter({code: round(float(count)) for _, code, _, count in found})
        in_flight = _IN_FLIGHT.search(text)
        if latest != counts or in_flight is None or float(in_flight[1]) > 0:
            counts, quiet_since_s = latest, time.monotonic()
        await asyncio.sleep(_POLL_S)
    return counts
