"""Stand-ins for the services behind the gateway, on real servers of this process."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

_FILE = Path(__file__).parents[2] / "fixtures" / "gateway_backends.py"


@pytest.fixture
async def backends() -> AsyncIterator[Any]:
    """Return retrieval and ranking, listening, to be told how to behave; see tests/fixtures/gateway_backends.py."""
    spec = importlib.util.spec_from_file_location("gateway_backends", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    both = module.Backends()
    await both.start()
    yield both
    await both.stop()
