"""The `grpc.health.v1` service: whether the server serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from common.errors import NotFound

_Response = health_pb2.HealthCheckResponse
_log = structlog.get_logger()


class Dependencies:
    """Whether the services that a server calls answer it, each under a name of its own in the server's health.

    Attributes:
        answers: Whether they answer, by name.
        device_is_lost: Whether the server's GPU failed in a way that only a new process ends.

    Args:
        names: Their names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.answers = dict.fromkeys(names, True)
        self.device_is_lost = False
        self.on_change: Callable[[], None] = lambda: None

    def set_answers(self, name: str, *, answers: bool) -> None:
        """Report whether a service answers; for use on the event loop."""
        self.answers[name] = answers
        self.on_change()

    def device_lost_reporter(self) -> Callable[[Exception], None]:
        """Return what makes the whole server NOT_SERVING for good, so that its liveness probe has it started again.

        For use on the event loop; the result may be called from any thread.
        """
        loop = asyncio.get_running_loop()

        def report(error: Exception) -> None:
            _log.error("NOT_SERVING until this process is started again", reason=str(error))
            loop.call_soon_threadsafe(self._lose_device)

        return report

    def _lose_device(self) -> None:
        self.device_is_lost = True
        self.on_change()


@runtime_checkable
class HasDependencies(Protocol):
    """A service that calls others."""

    dependencies: Dependencies


class HealthService(health_pb2_grpc.HealthServicer):
    """The health of every service of a server, and of the whole server (the empty name); all serve or none does.

    The services that it depends on are names as well, which do not change the health of the server itself.

    grpcio's own servicer keeps watches open at shutdown, so that one watcher delays the drain until its timeout.
    """

    def __init__(self, names: Sequence[str], dependencies: Dependencies | None = None) -> None:
        self._dependencies = dependencies or Dependencies(())
        self._dependencies.on_change = self._notify_soon
        self._notifications: set[asyncio.Task[None]] = set()
        self._names = frozenset((health.OVERALL_HEALTH, *names, *self._dependencies.answers))
        self._serving = False
        self._draining = False
        self._changed = asyncio.Condition()

    async def set_serving(self) -> None:
        """Report SERVING from now on."""
        async with self._changed:
            self._serving = True
            self._changed.notify_all()

    async def drain(self) -> None:
        """Report NOT_SERVING from now on, and end all watches."""
        async with self._changed:
            self._serving, self._draining = False, True
            self._changed.notify_all()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> _Response:  # noqa: N802 - the protocol's name
        """Return the health; raises NotFound for an unknown service."""
        del context
        if request.service not in self._names:
            raise NotFound(f"service: this server has no {request.service!r}")
        return _Response(status=self._status(request.service))

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the health of every service."""
        del request, context
        return health_pb2.HealthListResponse(  # type: ignore[attr-defined]  # its types are of an older version
            statuses={name: _Response(status=self._status(name)) for name in self._names}
        )

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> AsyncIterator[_Response]:  # noqa: N802
        """Send the health now and on each change, until the server drains."""
        del context
        sent: int | None = None
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._draining or self._status(request.service) != sent)  # noqa: B023 - called within this iteration
            status = self._status(request.service)
            if status == sent:  # the server drains, and NOT_SERVING was sent
                return
            sent = status
            yield _Response(status=sent)

    def _status(self, name: str) -> int:
        if name not in self._names:
            return _Response.SERVICE_UNKNOWN
        works = self._serving and not self._dependencies.device_is_lost
        serving = works and self._dependencies.answers.get(name, True)
        return _Response.SERVING if serving else _Response.NOT_SERVING

    def _notify_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self._notify())
        self._notifications.add(task)  # the event loop itself holds tasks weakly
        task.add_done_callback(self._notifications.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
