"""The three servers started by the playground itself on this machine, each of which can be stopped and started."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from common.errors import NotReady
from services.supervisor import ChildProcess, ChildSupervisor


class LocalServers:
    """Runs server processes, restarts those that die, and stops one when asked.

    Args:
        children: Their commands, what is called before what calls it.
    """

    def __init__(self, children: Sequence[ChildProcess]) -> None:
        self._children = {child.name: child for child in children}
        self._running: dict[str, tuple[ChildSupervisor, asyncio.Task[int | None]]] = {}
        self._changing = asyncio.Lock()

    @property
    def targets(self) -> dict[str, str]:
        """Addresses by name."""
        return {name: child.address for name, child in self._children.items()}

    async def start_all(self) -> None:
        """Start every server, without waiting until it serves."""
        for name in self._children:
            await self.start(name)

    async def start(self, name: str) -> None:
        """Start a server unless it runs; raises KeyError if there is none of this name."""
        async with self._changing:
            child = self._children[name]
            if not self.is_running(name):
                supervisor = ChildSupervisor(child)
                self._running[name] = (supervisor, asyncio.create_task(supervisor.run()))

    async def await_serving(self) -> None:
        """Wait until every server has served; raises NotReady if one could not start."""
        for name, (supervisor, task) in list(self._running.items()):
            served = asyncio.ensure_future(supervisor.served.wait())
            await asyncio.wait([served, task], return_when=asyncio.FIRST_COMPLETED)
            served.cancel()
            if task.done():
                raise NotReady(f"{name} could not start; see its log output above")

    async def stop(self, name: str) -> None:
        """Drain a server and keep it stopped; raises KeyError if there is none of this name."""
        async with self._changing:
            supervised = self._running.pop(self._children[name].name, None)
            if supervised is not None:
                supervisor, task = supervised
                await supervisor.stop()
                await task

    def is_running(self, name: str) -> bool:
        """Return whether a server was started and neither stopped nor given up."""
        supervised = self._running.get(name)
        return supervised is not None and not supervised[1].done()

    async def close(self) -> None:
        """Drain all servers, the last one first."""
        for name in reversed(self._children):
            await self.stop(name)
