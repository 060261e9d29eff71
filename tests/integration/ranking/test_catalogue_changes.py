"""A ranking server that follows the change stream, over the wire."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc

from common.changes.redis_stream import ChangeStream
from common.changes.stream_address import StreamAddress
from common.server.channel import open_channel
from common.server.server import running
from common.server.telemetry import Metrics
from services.ranking.server.server import RankingServer
from services.ranking.settings import Settings
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change import Change
from testing.redis_server import RedisServer

TIMEOUT_S = 30.0
NO_VECTORS = np.empty((0, 2), np.float32)


def upsert(title: str) -> bytes:
    """Return a change that adds the item `new`."""
    return Change((Item("new", title),), np.ones((1, 2), np.float32), "encoder").to_bytes()


async def logit(stub: ranking_pb2_grpc.RankingServiceStub, candidate: ranking_pb2.RankCandidate) -> float:
    """Rank one candidate; returns its logit."""
    request = ranking_pb2.RankRequest(
        user=ranking_pb2.UserContext(query="milk"), candidates=[candidate], cross_encoder_depth=1
    )
    return (await stub.Rank(request, timeout=TIMEOUT_S)).items[0].cross_encoder_logit


async def until_ranked(stub: ranking_pb2_grpc.RankingServiceStub, expected: float | None) -> None:
    """Rank the item `new` until its logit is as expected, or it is not found."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                found = await logit(stub, ranking_pb2.RankCandidate(item_id="new"))
            except grpc.aio.AioRpcError as error:
                found = None if error.code() is grpc.StatusCode.NOT_FOUND else float("nan")
            if found == expected or (found and expected and found == pytest.approx(expected, abs=1e-6)):
                return
            await asyncio.sleep(0.01)


async def test_live_items_are_ranked_by_their_id(tiny_release: Path, redis: RedisServer):
    """The server knows texts from before its start and new ones, and none of deleted items."""
    stream = ChangeStream(StreamAddress.parse(redis.url("shop")))
    stream.append(upsert("fresh milk"), b"")
    settings = Settings(port=0, metrics_port=0, release=str(tiny_release), change_stream=redis.url("shop"))
    metrics = Metrics("ranking")
    async with (
        running(RankingServer(settings, metrics), settings, metrics) as ports,
        open_channel(f"127.0.0.1:{ports.port}") as channel,
    ):
        stub = ranking_pb2_grpc.RankingServiceStub(channel)
        milk, towel = [
            await logit(stub, ranking_pb2.RankCandidate(text=text)) for text in ("fresh milk", "large towel")
        ]
        assert milk != pytest.approx(towel, abs=1e-5)
        await until_ranked(stub, milk)
        stream.append(b"no change", b"")
        stream.append(upsert("large towel"), b"")
        await until_ranked(stub, towel)
        stream.append(Change((), NO_VECTORS, "encoder", ("new",)).to_bytes(), b"")
        await until_ranked(stub, None)
    stream.close()
