"""A playground over fake gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from shortlist.client.fake import FakeGateway
from starlette.types import ASGIApp

from services.playground.comparison.judgements import Judgements
from services.playground.comparison.users import User
from services.playground.gateways.gateways import Gateways
from services.playground.servers.state import Servers
from services.playground.web.app import application
from services.playground.web.protection import AdminToken
from services.playground.web.site import Site

TOKEN = "a-token-of-this-test"  # noqa: S105 - of a test


@pytest.fixture
def first() -> Iterator[FakeGateway]:
    """Return a gateway that answers four items."""
    with FakeGateway(["milk", "bread", "soap", "pear"]) as gateway:
        yield gateway


@pytest.fixture
def second() -> Iterator[FakeGateway]:
    """Return a gateway that answers them in another order."""
    with FakeGateway(["pear", "milk", "bread", "towel"]) as gateway:
        yield gateway


@pytest.fixture
async def gateways(first: FakeGateway, second: FakeGateway) -> AsyncIterator[Gateways]:
    """Return both gateways."""
    both = Gateways({"a": first.target, "b": second.target}, timeout_s=20.0)
    yield both
    await both.close()


@pytest.fixture
async def app(gateways: Gateways, tmp_path: Path) -> AsyncIterator[ASGIApp]:
    """Return a playground with two gateways, two users, votes and an admin token."""
    users = [User("ann", ("milk", "soap")), User("bob", ())]
    async with _site_of(gateways, users=users, judgements=Judgements(tmp_path / "votes")) as site:
        yield application(site)


@asynccontextmanager
async def _site_of(gateways: Gateways, **parts: Any) -> AsyncIterator[Site]:
    """Yield the parts of a playground."""
    servers = Servers(gateways.targets, {})
    try:
        yield Site(gateways, servers, AdminToken(TOKEN), **parts)
    finally:
        await servers.close()


@pytest.fixture
def admin() -> dict[str, str]:
    """Return the headers of whoever has the token."""
    return {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def site_of() -> Callable[..., AbstractAsyncContextManager[Site]]:
    """Return the function that makes the parts of a playground."""
    return _site_of
