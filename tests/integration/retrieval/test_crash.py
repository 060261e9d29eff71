"""A retrieval server that is killed while items change has every acknowledged change after its restart."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import grpc
import pytest
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from testing.server_process import ServerProcess

TIMEOUT_S = 30.0
Item = retrieval_pb2.Item
ITEMS = [f"live-{number}" for number in range(20)]
Outcomes = dict[str, frozenset[float | None]]


async def test_acknowledged_changes_survive_kill_9(tiny_release: Path, tmp_path: Path):
    """Killed between or during changes, the server restarts with every change it acknowledged."""
    generator, model = random.Random(5), dict.fromkeys(ITEMS, frozenset({None}))
    settings = {"release": tiny_release, "data-dir": tmp_path / "changes"}
    server = ServerProcess("retrieval", settings, tmp_path / "server.log")
    stub = retrieval_pb2_grpc.RetrievalServiceStub(server.channel)
    for delay_s in (0.05, 0.2, 0.4):
        await server.start()
        await server.serving()
        model = await _check(stub, model)
        killing = asyncio.create_task(_kill_after(server, delay_s))
        with pytest.raises(grpc.aio.AioRpcError):
            await _keep_changing(stub, generator, model)
        await killing
    await server.start()
    await server.serving()
    model = await _check(stub, model)
    assert await server.terminate() == 0
    await server.close()
    assert any(price is not None for prices in model.values() for price in prices)


async def _kill_after(server: ServerProcess, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    await server.kill()


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
