"""A retrieval server that is killed while items change has every acknowledged change after its restart."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from common.server.channel import open_channel
from services.retrieval.server.rpc_handlers import NAME

TIMEOUT_S = 30.0
Item = retrieval_pb2.Item
ITEMS = [f"live-{number}" for number in range(20)]
Outcomes = dict[str, frozenset[float | None]]


async def test_acknowledged_changes_survive_kill_9(tiny_release: Path, tmp_path: Path):
    """Killed between or during changes, the server restarts with every change it acknowledged."""
    generator, model = random.Random(5), dict.fromkeys(ITEMS, frozenset({None}))
    for delay_s in (0.05, 0.2, 0.4):
        process, channel = await _start(tiny_release, tmp_path)
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        model = await _check(stub, model)
        killing = asyncio.get_running_loop().call_later(delay_s, process.kill)
        with pytest.raises(grpc.aio.AioRpcError):
            await _keep_changing(stub, generator, model)
        killing.cancel()
        await process.wait()
        await channel.close()
    process, channel = await _start(tiny_release, tmp_path)
    model = await _check(retrieval_pb2_grpc.RetrievalServiceStub(channel), model)
    await channel.close()
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert any(price is not None for prices in model.values() for price in prices)


async def _keep_changing(
    stub: retrieval_pb2_grpc.RetrievalServiceStub, generator: random.Random, model: Outcomes
) -> None:
    """Upsert and delete items; until a change is acknowledged, both outcomes are right."""
    while True:
        chosen, price = generator.sample(ITEMS, 3), generator.choice([None, float(generator.randint(0, 999))])
        model |= {item_id: model[item_id] | {price} for item_id in chosen}
        if price is None:
            await stub.DeleteItems(retrieval_pb2.DeleteItemsRequest(item_ids=chosen), timeout=TIMEOUT_S)
        else:
            items = [Item(item_id=item_id, title="fresh milk", price=price) for item_id in chosen]
            await stub.UpsertItems(retrieval_pb2.UpsertItemsRequest(items=items), timeout=TIMEOUT_S)
        model |= dict.fromkeys(chosen, frozenset({price}))


async def _check(stub: retrieval_pb2_grpc.RetrievalServiceStub, model: Outcomes) -> Outcomes:
    """Check the server's items against the outcomes that are right, and return the actual ones."""
    read = await stub.GetItems(retrieval_pb2.GetItemsRequest(item_ids=ITEMS), timeout=TIMEOUT_S)
    prices = {item.item_id: item.price for item in read.items}
    assert all(prices.get(item_id) in outcomes for item_id, outcomes in model.items())
    return {item_id: frozenset({prices.get(item_id)}) for item_id in model}


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


async def _start(release: Path, folder: Path) -> tuple[asyncio.subprocess.Process, grpc.aio.Channel]:
    """Start a server process; returns it with a channel once it serves."""
    port = _free_port()
    settings = {"release": release, "port": port, "metrics-port": 0, "data-dir": folder / "changes"}
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.retrieval", *flags, stderr=asyncio.subprocess.DEVNULL
    )
    channel = open_channel(f"127.0.0.1:{port}")
    health = health_pb2_grpc.HealthStub(channel)
    wanted = health_pb2.HealthCheckResponse.SERVING
    async for answer in health.Watch(health_pb2.HealthCheckRequest(service=NAME), wait_for_ready=True, timeout=60):
        if answer.status == wanted:
            break
    return process, channel
