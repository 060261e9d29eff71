"""The three servers in this process, with a collector of their traces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from testing.observability.stack import Stack, running_stack
from testing.observability.trace_collector import TraceCollector, trace_collector

Traced = Callable[..., AbstractAsyncContextManager[tuple[Stack, TraceCollector]]]


@pytest.fixture(scope="module")
def traced(tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """Return a context manager that runs the servers with a share of traced calls.

    It yields their collector too, which has every span once the servers have ended.
    """

    @asynccontextmanager
    async def run(share: float, *, has_ranking: bool = True) -> AsyncIterator[tuple[Stack, TraceCollector]]:
        folder = tmp_path_factory.mktemp("traced")
        with trace_collector() as collector:
            traces = {"trace_endpoint": collector.endpoint, "trace_share": share}
            async with running_stack(tiny_release, folder, traces, has_ranking=has_ranking) as stack:
                yield stack, collector

    return run
