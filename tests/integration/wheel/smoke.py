"""Run by an environment that has the wheel, grpcio and protobuf alone: every method of both clients."""

from __future__ import annotations

import asyncio
import sys

import google.protobuf
from shortlist.client import AsyncClient, Client, Event, NotFound, Policy, match
from shortlist.client.fake import FakeGateway


async def ask(target: str) -> None:
    """Ask with the client for asyncio."""
    async with AsyncClient(target, timeout_s=30) as client:
        assert [item.item_id for item in await client.recommend(history=["a"], limit=1)] == ["a"]


with FakeGateway(items=["a", "b"]) as gateway, Client(gateway.target, timeout_s=30) as client:
    answer = client.recommend(user_id="u", where=match("brand", "Acme"), policy=Policy(blocked_item_ids=["a"]))
    assert [item.item_id for item in answer] == ["b"]
    assert client.record(Event("u", "view", "a")).recorded == 1
    assert client.explain("b").rank == 2
    try:
        client.explain("c")
    except NotFound:
        pass
    else:
        sys.exit("an item that is not there was explained")
    assert client.forget_user("u") == 1
    asyncio.run(ask(gateway.target))
sys.stdout.write(google.protobuf.__version__)
