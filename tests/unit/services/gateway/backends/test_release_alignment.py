"""The background task that keeps retrieval and ranking on one release."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from common.server.channel import open_channel
from services.gateway.backends.release_alignment import align_releases
from services.gateway.backends.release_client import ReleaseClient
from services.gateway.backends.release_coordinator import ReleaseCoordinator


async def test_alignment_continues_after_a_failure(backends: Any, monkeypatch: pytest.MonkeyPatch):
    """A service that does not answer is checked again, until both serve one release."""
    backends.ranking_releases.release_id, backends.ranking_releases.previous = "r2", "r1"
    original = backends.retrieval_releases.meet
    failures = iter([grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE])

    async def meet(request: Any, context: Any) -> None:
        if (status := next(failures, None)) is not None:
            await context.abort(status, "failure on demand")
        await original(request, context)

    monkeypatch.setattr(backends.retrieval_releases, "meet", meet)
    aligned = asyncio.Event()
    async with open_channel(backends.retrieval_target) as retrieval, open_channel(backends.ranking_target) as ranking:
        releases = ReleaseCoordinator(
            ReleaseClient("retrieval", [retrieval], 5.0), ReleaseClient("ranking", [ranking], 5.0), aligned.set
        )
        aligning = asyncio.create_task(align_releases(releases, 0.01))
        await asyncio.wait_for(aligned.wait(), 20)
        aligning.cancel()
        assert (await releases.get_release()).release.release_id == "r2"
