"""Keeps server processes running on one machine: starts them, restarts those that die, drains them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.server.channel import open_channel

_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 5.0

# Runs in the child before the server does: the kernel kills it when the parent dies, however it dies. (SIGTERM would
# come once for each of the parent's threads, and a server takes the second one for an order to end at once.) It is not
# done between fork and exec, where gRPC's threads make Python code unsafe. The parent may die before the call is made.
_TETHER: Final = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class ChildProcess:
    """One server to keep running.

    Attributes:
        name: What it is called in messages.
        command: Program and arguments.
        address: Where it answers `grpc.health.v1`, as ``host:port``.
    """

    name: str
    command: tuple[str, ...]
    address: str


async def supervise(children: Sequence[ChildProcess]) -> int:
    """Run the children until SIGTERM or SIGINT, then drain the last one first, each before the next.

    A child that dies is started again after 0.2 s, twice as long each time up to 5 s, until it is SERVING again. One
    that dies before it ever was SERVING (a taken port, a bad release) ends them all: trying again would not help it.
    A second signal kills the children at once.

    Returns:
        The exit code: 0 when every child drained, 1 when one could not start or did not drain.
    """
    keepers = [_Keeper(child) for child in children]
    keeping = [asyncio.create_task(keeper.keep()) for keeper in keepers]
    signalled = asyncio.create_task(_signalled(keepers))
    ended, _ = await asyncio.wait([signalled, *keeping], return_when=asyncio.FIRST_COMPLETED)
    drained = [await keeper.stop() for keeper in reversed(keepers)]
    for task in (signalled, *keeping):
        task.cancel()
    started = all(task.result() is None for task in ended)
    return 0 if started and all(drained) else 1


class _Keeper:
    """Keeps one child running."""

    def __init__(self, child: ChildProcess) -> None:
        self._child = child
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._delay_s = _FIRST_DELAY_S
        self._served = False
        self._stopping = False

    async def keep(self) -> int | None:
        """Start the child, and again whenever it dies; returns its exit code when it could not start at all."""
        while True:
            code = await self._run_once()
            if self._stopping:
                return None
            if not self._served:
                _say(f"{self._child.name} could not start (exit code {code}); its last words stand above")
                return code
            _say(f"{self._child.name} died (exit code {code}) and is started again in {self._delay_s:.1f} s")
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(2 * self._delay_s, _LONGEST_DELAY_S)

    async def stop(self) -> bool:
        """Drain the child and start it no more; returns whether it ended as it should."""
        async with self._starting:
            self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return True
        self._process.terminate()
        code = await self._process.wait()
        _say(f"{self._child.name} drained" if code == 0 else f"{self._child.name} did not drain (exit code {code})")
        return code == 0

    def kill(self) -> None:
        """End the child at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _run_once(self) -> int:
        async with self._starting:
            if self._stopping:
                return 0
            command = (sys.executable, "-c", _TETHER, str(os.getpid()), *self._child.command)
            # A session of its own, so that Ctrl-C reaches the parent alone, which drains the children in order.
            process = self._process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        announcing = asyncio.create_task(self._announce())
        try:
            return await process.wait()
        finally:
            announcing.cancel()

    async def _announce(self) -> None:
        """Say when the child is SERVING."""
        if await _serving(self._child.address):
            self._served = True
            self._delay_s = _FIRST_DELAY_S
            _say(f"{self._child.name} is SERVING on {self._child.address}")


async def _serving(address: str) -> bool:
    """Return true once the server at ``address`` serves, false where it goes away before."""
    async with open_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with suppress(grpc.aio.AioRpcError):
            async for answer in stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True):
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return True
    return False


async def _signalled(keepers: Sequence[_Keeper]) -> None:
    """Return at the first SIGTERM or SIGINT; the second one kills everything."""
    first = asyncio.Event()

    def stop(number: int) -> None:
        if first.is_set():
            for keeper in keepers:
                keeper.kill()
            os._exit(128 + number)
        first.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    await first.wait()


def _say(message: str) -> None:
    sys.stdout.write(message + "\n")
    sys.stdout.flush()
