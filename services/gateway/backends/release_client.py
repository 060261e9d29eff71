"""The release of one service, read and changed on all of its replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

import grpc
import structlog
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.errors import BadRelease, DeadlineTooShort, InvalidRequest, NotFound, NotReady, Overloaded, ShortlistError
from common.server.channel import answer_of
from common.server.interceptors import REQUEST_ID
from common.server.telemetry import request_id

_GET_TIMEOUT_S: Final = 5.0

_ERRORS: Final[dict[grpc.StatusCode, type[ShortlistError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: BadRelease,
    grpc.StatusCode.UNAVAILABLE: NotReady,
    grpc.StatusCode.CANCELLED: NotReady,  # by a server that has just stopped
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineTooShort,
    # The service refuses the gateway, not the gateway's caller, who could do nothing about it.
    grpc.StatusCode.UNAUTHENTICATED: NotReady,
    grpc.StatusCode.PERMISSION_DENIED: NotReady,
}

_log = structlog.get_logger()


class ReleaseClient:
    """A client of one service's ReleaseService.

    Args:
        name: The service's name, for messages.
        channels: A channel to each replica of the service.
        activation_timeout_s: How long the service may take to load a release.
    """

    def __init__(self, name: str, channels: Sequence[grpc.aio.Channel], activation_timeout_s: float) -> None:
        self.name = name
        self._stubs: list[Any] = [release_pb2_grpc.ReleaseServiceStub(channel) for channel in channels]
        self._activation_timeout_s = activation_timeout_s

    async def get_release(self) -> release_pb2.GetReleaseResponse:
        """Return the release of the first replica that answers; raises the ShortlistError of the call's status."""
        answers = await self._releases()
        if isinstance(answers[0], BaseException):
            return next(iter(self._answered(answers).values()))
        return answers[0]

    async def activate(self, location: str) -> release_pb2.ActivateReleaseResponse:
        """Have every replica serve the release at ``location``, or none; raises like `get_release`.

        Replicas that do not answer are left out if another one does; `align_replicas` changes them later.

        Returns:
            The answer of the first replica that changed.
        """
        before = (await self.get_release()).release.location if len(self._stubs) > 1 else ""
        changed: dict[Any, release_pb2.ActivateReleaseResponse] = {}
        missed: ShortlistError = NotReady(f"{self.name}: does not answer")
        for stub in self._stubs:
            try:
                changed[stub] = await self._activate(stub, location)
            except (NotReady, DeadlineTooShort) as error:
                missed = error
                _log.warning("a replica does not answer and keeps its release", service=self.name, reason=str(error))
            except (ShortlistError, RuntimeError):
                for earlier in changed:
                    with suppress(ShortlistError, RuntimeError):
                        await self._activate(earlier, before)
                raise
        if not changed:
            raise missed
        return next(iter(changed.values()))

    async def align_replicas(self) -> str:
        """Have replicas that restarted with another release serve that of the others; replicas that are down stay out.

        A restarted replica has no previous release. If all restarted, the newest release wins.

        Returns:
            What was changed, as a sentence; empty if nothing was.

        Raises:
            ShortlistError: A replica refuses the release.
        """
        if len(self._stubs) == 1:
            return ""
        answered = self._answered(await self._releases())
        activated = [answer for answer in answered.values() if answer.previous_release_id]
        wanted = max(activated or answered.values(), key=_created_ns).release
        outdated = [
            stub
            for stub, answer in answered.items()
            if not answer.previous_release_id and answer.release.release_id != wanted.release_id
        ]
        for stub in outdated:
            await self._activate(stub, wanted.location)
        if not outdated:
            return ""
        return f"{len(outdated)} of the replicas of {self.name} restarted, and now serve {wanted.release_id}"

    async def _releases(self) -> list[release_pb2.GetReleaseResponse | BaseException]:
        """Return each replica's answer or error."""
        request = release_pb2.GetReleaseRequest()
        calls = (self._call(stub.GetRelease, request, _GET_TIMEOUT_S) for stub in self._stubs)
        answers: list[release_pb2.GetReleaseResponse | BaseException] = await asyncio.gather(
            *calls, return_exceptions=True
        )
        return answers

    def _answered(
        self, answers: Sequence[release_pb2.GetReleaseResponse | BaseException]
    ) -> dict[Any, release_pb2.GetReleaseResponse]:
        """Return the answers by replica; raises the first error if there is none."""
        found = {
            stub: answer
            for stub, answer in zip(self._stubs, answers, strict=True)
            if not isinstance(answer, BaseException)
        }
        if not found and isinstance(answers[0], BaseException):
            raise answers[0]
        return found

    async def _activate(self, stub: Any, location: str) -> release_pb2.ActivateReleaseResponse:
        request = release_pb2.ActivateReleaseRequest(location=location)
        response: release_pb2.ActivateReleaseResponse = await self._call(
            stub.ActivateRelease, request, self._activation_timeout_s
        )
        return response

    async def _call(self, method: Any, request: Any, timeout_s: float) -> Any:
        metadata = ((REQUEST_ID, request_id()),) if request_id() else ()
        try:
            return await answer_of(method(request, timeout=timeout_s, metadata=metadata))
        except grpc.aio.AioRpcError as error:
            self._raise(error)

    def _raise(self, error: grpc.aio.AioRpcError) -> NoReturn:
        message = f"{self.name}: {error.details()}"
        if error.code() not in _ERRORS:
            raise RuntimeError(f"{error.code().name} from {message}") from error
        raise _ERRORS[error.code()](message) from error


def _created_ns(answer: release_pb2.GetReleaseResponse) -> int:
    return answer.release.created_at.ToNanoseconds()
