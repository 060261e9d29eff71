"""A fleet: two replicas each of retrieval and ranking, which follow one store, and a gateway, all as processes.

Each test starts five processes, so they have a target of their own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from shortlist.gateway.v1 import gateway_pb2
from shortlist.gateway.v1.gateway_pb2_grpc import RecommendationServiceStub
from shortlist.release.v1 import release_pb2
from shortlist.release.v1.release_pb2_grpc import ReleaseServiceStub

from common.release.manifest import compute_release_id
from common.release.pointer import CURRENT, ROLLOUT, set_current
from common.release.store import open_release, publish
from testing.server_process import ServerProcess

TIMEOUT_S = 20.0
POLL_S = 0.2
_RECOMMEND = gateway_pb2.RecommendRequest(history_item_ids=["dairy-milk-red-0", "dairy-cheese-red-0"], limit=5)


def publish_again(store: Path, licence: str) -> str:
    """Publish the store's current release again with another licence, so with another id; returns the id."""
    first = open_release(str(store))
    staging = store.parent / f"staging-{licence}"
    shutil.copytree(first.path, staging, ignore=shutil.ignore_patterns("manifest.json"))
    manifest = first.manifest
    data = manifest.data.model_copy(update={"licence": licence})
    release_id = compute_release_id(manifest.files, data, manifest.settings, manifest.models)
    copy = manifest.model_copy(update={"data": data, "release_id": release_id})
    return publish(staging, store, copy, current=False).id


class Fleet:
    """The processes and the store that they follow.

    Attributes:
        store: The store.
        first: The release that it starts with.
        second: Another release of the store.
        third: One more.
        retrieval: The replicas of retrieval.
        ranking: The replicas of ranking.
    """

    def __init__(self, tiny_release: Path, folder: Path) -> None:
        self.store = folder / "store"
        shutil.copytree(tiny_release, self.store)
        (self.store / ROLLOUT).unlink(missing_ok=True)
        self.first = (self.store / CURRENT).read_text().strip()
        self.second, self.third = (publish_again(self.store, licence) for licence in ("another", "third"))
        self._folder = folder
        self._processes = AsyncExitStack()
        self.retrieval: list[ServerProcess] = []
        self.ranking: list[ServerProcess] = []
        self.answers: list[gateway_pb2.RecommendResponse] = []
        self._gateway: Any = None

    async def start(self, location: str, **flags: Any) -> None:
        """Start everything on a store; flags are of the followers."""
        shared = {"release": location, "release-poll-s": POLL_S, "request-timeout-s": 15, **flags}
        for n in range(2):
            self.ranking.append(self._process("ranking", {"replica-name": f"ranking-{n}", **shared}))
        ranking = ",".join(f"127.0.0.1:{process.port}" for process in self.ranking)
        for n in range(2):
            own = {"replica-name": f"retrieval-{n}", "ranking-target": ranking}
            self.retrieval.append(self._process("retrieval", {**own, **shared}))
        retrieval = ",".join(f"127.0.0.1:{process.port}" for process in self.retrieval)
        targets = {"retrieval-target": retrieval, "ranking-target": ranking, "request-timeout-s": 15}
        own = {"profiles": self._folder / "profiles.sqlite3", "release-sync-interval-s": 0, "default-timeout-s": 10}
        for process in (*self.ranking, *self.retrieval):
            await process.start()
        for process in (*self.ranking, *self.retrieval):
            await process.serving()
        gateway = self._process("gateway", {**targets, **own})
        await gateway.start()
        await gateway.serving()
        self._gateway = RecommendationServiceStub(gateway.channel)

    def point_to(self, release_id: str) -> None:
        """Set the store's pointer."""
        set_current(self.store, release_id)

    async def released(self, process: ServerProcess) -> release_pb2.GetReleaseResponse:
        """Return what a server says of its release."""
        stub: Any = ReleaseServiceStub(process.channel)
        answer: release_pb2.GetReleaseResponse = await stub.GetRelease(
            release_pb2.GetReleaseRequest(), timeout=TIMEOUT_S
        )
        return answer

    async def recommend(self) -> gateway_pb2.RecommendResponse:
        """Ask the gateway; every answer is noted."""
        answer: gateway_pb2.RecommendResponse = await self._gateway.Recommend(_RECOMMEND, timeout=TIMEOUT_S)
        self.answers.append(answer)
        return answer

    async def until(self, holds: Callable[[list[release_pb2.GetReleaseResponse]], bool]) -> None:
        """Call the gateway until what the servers say, ranking's first, meets a condition."""
        async with asyncio.timeout(120):
            while True:
                await self.recommend()
                servers = (*self.ranking, *self.retrieval)
                if holds([await self.released(process) for process in servers]):
                    return

    async def close(self) -> None:
        """End all processes."""
        await self._processes.aclose()

    def _process(self, service: str, flags: dict[str, Any]) -> ServerProcess:
        log = self._folder / f"{service}-{len(self.ranking)}-{len(self.retrieval)}.log"
        if "release-cache" in flags:  # each server has its own
            flags = flags | {"release-cache": flags["release-cache"] / flags["replica-name"]}
        process = ServerProcess(service, flags, log)
        self._processes.push_async_callback(process.close)
        return process


@pytest.fixture
async def fleet(tiny_release: Path, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Return a fleet that has not started."""
    if "SHORTLIST_FLEET" not in os.environ:
        pytest.skip("tests of whole fleets run with `make test-fleet`")
    made = Fleet(tiny_release, tmp_path)
    yield made
    await made.close()
