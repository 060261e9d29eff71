"""A cluster whose parts can be killed, hung, cut off and slowed: two retrieval servers, ranking, gateway, Redis.

Every connection between them goes through a TCP proxy. The gateway's files are on a disk that can be full or slow, and
its clock can be set.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

import grpc
from shortlist.gateway.v1 import gateway_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2_grpc

from testing.faults.process_faults import ProcessFaults
from testing.faults.tcp_proxy import TcpProxy
from testing.redis_server import RedisServer
from testing.server_process import ServerProcess

_TIMEOUT_S: Final = 30.0
_ALIGNED_EVERY_S: Final = 1.0


class Cluster:
    """The cluster; used as an async context manager.

    Args:
        store: The release that the servers start with.
        folder: For files, logs and the faulty disk.

    Attributes:
        servers: The servers by name.
        proxies: The proxies by the name of the server behind them; `redis` too.
        faults: The faults of disk and clock.
        gateway: The gateway's stub.
        retrieval: The stubs of both retrieval servers, past the proxies.
        redis: The primary, and the standby that replicates it.
        refused_swaps: How many activations of a release failed.
    """

    def __init__(self, store: Path, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._files = folder / "disk"
        self._files.mkdir()
        self._resources = AsyncExitStack()
        self.faults = ProcessFaults(folder, self._files)
        self.redis = [self._new_redis("redis-a"), self._new_redis("redis-b")]
        self.servers: dict[str, ServerProcess] = {}
        self.proxies: dict[str, TcpProxy] = {}
        self.gateway: Any = None
        self.retrieval: list[Any] = []
        self.refused_swaps = 0

    async def __aenter__(self) -> Self:
        for redis in self.redis:
            await asyncio.to_thread(redis.start)
        await self.follow_primary()
        self.proxies["redis"] = await self._resources.enter_async_context(TcpProxy(self.redis[0].port))
        stream = f"redis://127.0.0.1:{self.proxies['redis'].port}/0?stream=shop&wait=1"
        for name in ("retrieval-a", "retrieval-b"):
            await self._add(name, "retrieval", {"release": self._store, "change-stream": stream})
        await self._add("ranking", "ranking", {"release": self._store})
        targets = [self.proxies[name].address for name in ("retrieval-a", "retrieval-b")]
        flags: dict[str, Any] = {"retrieval-target": ",".join(targets)}
        flags |= {"ranking-target": self.proxies["ranking"].address}
        flags |= {"release-sync-interval-s": _ALIGNED_EVERY_S, "profiles": self._files / "profiles.sqlite3"}
        await self._add("gateway", "gateway", flags)
        self.gateway = gateway_pb2_grpc.RecommendationServiceStub(self.servers["gateway"].channel)
        self.retrieval = [
            retrieval_pb2_grpc.RetrievalServiceStub(self.servers[name].channel)
            for name in ("retrieval-a", "retrieval-b")
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.signal(signal.SIGCONT)
            await server.close()
        await self._resources.aclose()
        for redis in self.redis:
            redis.close()

    async def restart(self, name: str) -> None:
        """Start a killed server again, and wait until it serves."""
        await self.servers[name].start()
        await self.servers[name].serving()

    async def activate(self, location: Path) -> None:
        """Activate a release through the gateway, and count it if that is refused."""
        request = release_pb2.ActivateReleaseRequest(location=str(location))
        stub: Any = release_pb2_grpc.ReleaseServiceStub(self.servers["gateway"].channel)
        try:
            await stub.ActivateRelease(request, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            self.refused_swaps += 1

    async def served_releases(self) -> list[str]:
        """Return the release of each server but the gateway, once they had time to be aligned."""
        await asyncio.sleep(3 * _ALIGNED_EVERY_S)
        stubs: list[Any] = [
            release_pb2_grpc.ReleaseServiceStub(server.channel)
            for name, server in self.servers.items()
            if name != "gateway"
        ]
        request = release_pb2.GetReleaseRequest()
        answers = [await stub.GetRelease(request, timeout=_TIMEOUT_S) for stub in stubs]
        return [answer.release.release_id for answer in answers]

    async def fail_over(self) -> None:
        """Kill the primary, promote the standby, and start the old primary as the new standby."""
        primary, standby = self.redis
        primary.signal(signal.SIGKILL)
        await asyncio.to_thread(standby.client.replicaof, "NO", "ONE")
        self.redis.reverse()
        proxy = self.proxies["redis"]
        proxy.target = standby.port
        proxy.cut()
        proxy.restore()
        await asyncio.to_thread(primary.start)
        await self.follow_primary()

    async def start_redis(self) -> None:
        """Start the killed primary again."""
        await asyncio.to_thread(self.redis[0].start)

    async def follow_primary(self) -> None:
        """Have the standby replicate the primary."""
        primary, standby = self.redis
        await asyncio.to_thread(standby.client.replicaof, "127.0.0.1", str(primary.port))

    def threads(self) -> dict[str, int]:
        """Return the number of threads of each server."""
        return {name: len(list(Path(f"/proc/{server.pid}/task").iterdir())) for name, server in self.servers.items()}

    def _new_redis(self, name: str) -> RedisServer:
        (self._folder / name).mkdir()
        return RedisServer(self._folder / name)

    async def _add(self, name: str, service: str, flags: dict[str, Any]) -> None:
        faulty = self.faults.command if service == "gateway" else ()
        given = {"log-level": "warning", **flags}
        server = ServerProcess(service, given, self._folder / f"{name}.log", faulty)
        self.servers[name] = server
        await self.restart(name)
        self.proxies[name] = await self._resources.enter_async_context(TcpProxy(server.port))
