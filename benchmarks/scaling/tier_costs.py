"""What a pair costs in the text tiers of a release: ranking called with a depth and without."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import Release
from common.server.channel import open_channel
from testing.local_server import LocalServer

_CANDIDATES: Final = 100
_DEPTH: Final = 50
_CALLERS: Final = 4
_HISTORY: Final = 8
_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True)
class TierCosts:
    """Core-ms of the text tiers; 0 for a tier that the release does not have.

    Attributes:
        pair_ms: The cross-encoder, a pair.
        late_ms: Late interaction, a candidate.
    """

    pair_ms: float = 0.0
    late_ms: float = 0.0


async def tier_costs(release: Release, server: LocalServer, seconds: float) -> TierCosts:
    """Measure the tiers that the release has; users and candidates are random, so that no score is cached."""
    drawn = np.random.default_rng(0)
    items = Catalogue.open(release.file(CATALOGUE)).table["item_id"].to_pylist()
    async with open_channel(server.target) as channel:
        releases: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        answer = await releases.GetRelease(release_pb2.GetReleaseRequest())
        models = {model.name for model in answer.release.models}
        stub = ranking_pb2_grpc.RankingServiceStub(channel)

        async def measured(cross: int, late: int) -> float:
            return await _core_ms(stub, server, lambda: _request(drawn, items, cross, late), seconds)

        plain = await measured(0, 0) if models & {"cross_encoder", "late_interaction"} else 0.0
        pair_ms = (await measured(_DEPTH, 0) - plain) / _DEPTH if "cross_encoder" in models else 0.0
        late_ms = (await measured(0, _CANDIDATES) - plain) / _CANDIDATES if "late_interaction" in models else 0.0
    return TierCosts(max(0.0, pair_ms), max(0.0, late_ms))


def _request(drawn: np.random.Generator, items: list[str], cross: int, late: int) -> ranking_pb2.RankRequest:
    count = _CANDIDATES + _HISTORY
    chosen = [items[row] for row in drawn.choice(len(items), count, replace=len(items) < count)]
    return ranking_pb2.RankRequest(
        user=ranking_pb2.UserContext(history_item_ids=chosen[:_HISTORY]),
        candidates=[ranking_pb2.RankCandidate(item_id=one) for one in chosen[_HISTORY:]],
        cross_encoder_depth=cross,
        late_interaction_depth=late,
    )


async def _core_ms(stub: Any, server: LocalServer, new_request: Any, seconds: float) -> float:
    calls = 0
    ends_s = time.perf_counter() + seconds
    before = server.cpu_s()

    async def caller() -> None:
        nonlocal calls
        while time.perf_counter() < ends_s:
            await stub.Rank(new_request(), timeout=_TIMEOUT_S)
            calls += 1

    await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    return (server.cpu_s() - before) * 1e3 / calls
