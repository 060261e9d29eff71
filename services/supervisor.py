"""Supervises server processes on one machine: starts them, restarts those that die, and drains them in order.

For demos and development; in production an init system or an orchestrator does this. Unlike a general supervisor, it
knows the health of the servers, and drains them one after the other.
"""

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

from common.process.line_writer import LineWriter
from common.server.access.channel_security import ChannelSecurity
from common.server.channel import open_channel

_FIRST_DELAY_S: Final = 0.2
_MAX_DELAY_S: Final = 5.0

# Runs in the child before the server: it makes the kernel kill the child when the parent dies in any way. The signal is
# SIGKILL because the kernel sends it once for each of the parent's threads, and on a second SIGTERM a server would end
# without draining. It is not set between fork and exec, where gRPC's threads make Python code unsafe. The parent may
# have died before it is set, hence the check.
_EXEC_WITH_PARENT: Final = """
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
        name: Its name in messages.
        command: Program and arguments.
        address: Where it serves `grpc.health.v1`, as ``host:port``.
        security: How the supervisor connects there.
    """

    name: str
    command: tuple[str, ...]
    address: str
    security: ChannelSecurity | None = None


async def supervise(children: Sequence[ChildProcess]) -> int:
    """Run the children until SIGTERM or SIGINT, then drain them one after the other, the last one first.

    A child that dies is restarted after 0.2 s; the delay doubles up to 5 s until the child is SERVING again. If a child
    dies before it was ever SERVING (a taken port, a bad release), all are ended, since a restart would not help. A
    second signal kills the children at once.

    Returns:
        The exit code: 0 if every child drained, 1 if one could not start or did not drain.
    """
    supervisors = [ChildSupervisor(child) for child in children]
    running = [asyncio.create_task(supervisor.run()) for supervisor in supervisors]
    signalled = asyncio.create_task(_signalled(supervisors))
    ended, _ = await asyncio.wait([signalled, *running], return_when=asyncio.FIRST_COMPLETED)
    drained = [await supervisor.stop() for supervisor in reversed(supervisors)]
    for task in (signalled, *running):
        task.cancel()
    _OUTPUT.flush()
    started = all(task.result() is None for task in ended)
    return 0 if started and all(drained) else 1


class ChildSupervisor:
    """Keeps one child running.

    Attributes:
        served: Set once the child was SERVING.
    """

    def __init__(self, child: ChildProcess) -> None:
        self._child = child
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._delay_s = _FIRST_DELAY_S
        self.served = asyncio.Event()
        self._stopping = False

    async def run(self) -> int | None:
        """Start the child, and restart it when it dies; returns its exit code if it never served."""
        while True:
            code = await self._run_once()
            if self._stopping:
                return None
            if not self.served.is_set():
                _print(f"{self._child.name} could not start (exit code {code}); see its log output above")
                return code
            _print(f"{self._child.name} died (exit code {code}) and will be restarted in {self._delay_s:.1f} s")
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(2 * self._delay_s, _MAX_DELAY_S)

    async def stop(self) -> bool:
        """Drain the child and do not restart it; returns whether it drained."""
        async with self._starting:
            self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return True
        self._process.terminate()
        code = await self._process.wait()
        _print(f"{self._child.name} drained" if code == 0 else f"{self._child.name} did not drain (exit code {code})")
        return code == 0

    def kill(self) -> None:
        """Kill the child."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _run_once(self) -> int:
        async with self._starting:
            if self._stopping:
                return 0
            command = (sys.executable, "-c", _EXEC_WITH_PARENT, str(os.getpid()), *self._child.command)
            # In a session of its own, so that Ctrl-C reaches only the parent, which drains the children in order.
            try:
                process = self._process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
            except OSError as error:  # no memory or no process left for now
                _print(f"{self._child.name} could not be started: {error}")
                return 1
        reporting = asyncio.create_task(self._report_serving())
        try:
            return await process.wait()
        finally:
            reporting.cancel()

    async def _report_serving(self) -> None:
        """Print a line once the child is SERVING."""
        if await _await_serving(self._child.address, self._child.security):
            self.served.set()
            self._delay_s = _FIRST_DELAY_S
            _print(f"{self._child.name} is SERVING on {self._child.address}")


async def _await_serving(address: str, security: ChannelSecurity | None) -> bool:
    """Return True once the server at ``address`` serves, False if it ends before."""
    async with open_channel(address, security) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with suppress(grpc.aio.AioRpcError):
            async for response in stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True):
                if response.status == health_pb2.HealthCheckResponse.SERVING:
                    return True
    return False


async def _signalled(supervisors: Sequence[ChildSupervisor]) -> None:
    """Return at the first SIGTERM or SIGINT; the second one kills everything."""
    first = asyncio.Event()

    def stop(number: int) -> None:
        if first.is_set():
            for supervisor in supervisors:
                supervisor.kill()
            os._exit(128 + number)
        first.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    await first.wait()


# Whoever reads our output may stop to, or go away.
_OUTPUT: Final = LineWriter(1)


def _print(message: str) -> None:
    _OUTPUT.write(message + "\n")
