"""A fake gateway, and each client of it with the same blocking methods."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from shortlist.client import AsyncClient, Client
from shortlist.client.fake import FakeGateway


class BlockingAsyncClient:
    """Calls the client for asyncio on a loop of its own, so that one test covers both."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **fields: self._runner.run(self._call(name, arguments, fields))

    async def _call(self, name: str, arguments: Any, fields: Any) -> Any:
        return await getattr(self._client, name)(*arguments, **fields)

    def close(self) -> None:
        """Close the client and its loop."""
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway(items=["milk", "bread", "eggs"]) as running:
        yield running


@pytest.fixture(params=[Client, BlockingAsyncClient], ids=["blocking", "asyncio"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a function that makes a client; they are closed afterwards."""
    clients = []

    def make(*arguments: Any, **options: Any) -> Any:
        clients.append(request.param(*arguments, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: Any, gateway: FakeGateway) -> Any:
    return make_client(gateway.target, timeout_s=30)
