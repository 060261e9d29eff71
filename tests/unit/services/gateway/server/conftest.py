"""A gateway over fake services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient, running_gateway


@pytest.fixture
def gateway_settings(backends: Backends, tmp_path: Path) -> Callable[..., Settings]:
    """Return a function that makes the settings of a gateway over the fake services."""

    def make(**changed: Any) -> Settings:
        given = {
            "port": 0,
            "metrics_port": 0,
            "retrieval_target": backends.retrieval_target,
            "ranking_target": backends.ranking_target,
            "profiles": tmp_path / "profiles.db",
            "default_timeout_s": 1.5,
            **changed,
        }
        return Settings(**given)

    return make


@pytest.fixture
async def client(gateway_settings: Callable[..., Settings]) -> AsyncIterator[GatewayClient]:
    """Return a client of a gateway that is serving."""
    async with running_gateway(gateway_settings()) as caller:
        yield caller
