"""The release behind the gateway: what retrieval and ranking serve, told and changed as one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NoReturn

import grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.errors import BadRelease, DeadlineTooShort, InvalidRequest, NotFound, NotReady, ShortlistError
from common.server.interceptors import REQUEST_ID
from common.server.telemetry import request_id

NAME: Final = release_pb2.DESCRIPTOR.services_by_name["ReleaseService"].full_name


_LOOK_TIMEOUT_S: Final = 5.0


_ERRORS: Final[dict[grpc.StatusCode, type[ShortlistError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: BadRelease,
    grpc.StatusCode.UNAVAILABLE: NotReady,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineTooShort,
}


class Backend:
    """The ReleaseService of one service behind the gateway.

    Args:
        name: The service's name, which stands in messages.
        channel: Leads to it.
        activation_timeout_s: How long it may take to load a release.
    """

    def __init__(self, name: str, channel: grpc.aio.Channel, activation_timeout_s: float) -> None:
        self.name = name
        self._stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        self._activation_timeout_s = activation_timeout_s

    async def look(self) -> release_pb2.GetReleaseResponse:
        """Return what it serves; raises the ShortlistError of its status, its name before its message."""
        response: release_pb2.GetReleaseResponse = await self._call(
            self._stub.GetRelease, release_pb2.GetReleaseRequest(), _LOOK_TIMEOUT_S
        )
        return response

    async def activate(self, location: str) -> release_pb2.ActivateReleaseResponse:
        """Have it serve the release at ``location``; raises the ShortlistError of its status likewise."""
        request = release_pb2.ActivateReleaseRequest(location=location)
        response: release_pb2.ActivateReleaseResponse = await self._call(
            self._stub.ActivateRelease, request, self._activation_timeout_s
        )
        return response

    async def _call(self, method: Any, request: Any, timeout_s: float) -> Any:
        metadata = ((REQUEST_ID, request_id()),) if request_id() else ()
        try:
            return await method(request, timeout=timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            self._raise(error)

    def _raise(self, error: grpc.aio.AioRpcError) -> NoReturn:
        message = f"{self.name}: {error.details()}"
        if error.code() not in _ERRORS:
            raise RuntimeError(f"{error.code().name} from {message}") from error
        raise _ERRORS[error.code()](message) from error


class Releases:
    """What both services serve, changed as one.

    Ranking goes first: it still answers for the release before, which retrieval's candidates come from until
    retrieval has changed too, so no answer mixes two releases.

    Args:
        retrieval: The first stage's service.
        ranking: The second stage's service.
        activated: Called after every change.
    """

    def __init__(self, retrieval: Backend, ranking: Backend, activated: Callable[[], None]) -> None:
        self._retrieval = retrieval
        self._ranking = ranking
        self._activated = activated
        self._one_at_a_time = asyncio.Lock()
        self._activations: set[asyncio.Task[Any]] = set()

    async def look(self) -> release_pb2.GetReleaseResponse:
        """Return what is served; raises NotReady naming the service that does not answer."""
        retrieval, ranking = await asyncio.gather(self._retrieval.look(), self._ranking.look())
        return release_pb2.GetReleaseResponse(
            release=_merged(retrieval.release, ranking.release),
            previous_release_id=_common(retrieval.previous_release_id, ranking.previous_release_id),
        )

    async def activate(self, location: str) -> release_pb2.ActivateReleaseResponse:
        """Have both serve the release at ``location``, or neither; once begun it ends even when its caller goes away.

        Raises:
            BadRelease: One of them refuses it, and both serve what they did; the message names who refused and why.
            NotReady: One of them does not answer.
        """
        task = asyncio.create_task(self._activate(location))
        self._activations.add(task)  # the event loop itself holds tasks weakly
        task.add_done_callback(self._activations.discard)
        return await asyncio.shield(task)

    async def align(self) -> str:
        """Have a service that came back on another release serve the one that answers are made of.

        A service that restarts opens its store's current release, which need not be the one that was activated. It is
        told by having served nothing before; where that is true of both, the newer release is meant. An activation
        through another gateway is taken further, never back: ranking, which goes first, then has served something.

        Returns:
            What was done, as a sentence; empty where both serve the same release, or both were activated apart.

        Raises:
            ShortlistError: A service does not answer, or refuses the release.
        """
        async with self._one_at_a_time:
            retrieval, ranking = await asyncio.gather(self._retrieval.look(), self._ranking.look())
            strayed = _strayed(retrieval, ranking)
            if strayed is None:
                return ""
            backend, wanted = (self._ranking, retrieval) if strayed is ranking else (self._retrieval, ranking)
            await backend.activate(wanted.release.location)
        self._activated()
        return f"{backend.name} came back on {strayed.release.release_id} and serves {wanted.release.release_id} again"

    async def _activate(self, location: str) -> release_pb2.ActivateReleaseResponse:
        async with self._one_at_a_time:
            before = (await self._ranking.look()).release
            ranking = await self._ranking.activate(location)
            retrieval = await self._or_roll_back(self._retrieval.activate(location), before)
        self._activated()
        if retrieval.release.release_id != ranking.release.release_id:
            raise BadRelease(
                f"ranking now serves {ranking.release.release_id} and retrieval {retrieval.release.release_id}: what "
                f"{location} names was changed in between; activate it again"
            )
        return release_pb2.ActivateReleaseResponse(
            release=_merged(retrieval.release, ranking.release),
            previous_release_id=_common(retrieval.previous_release_id, ranking.previous_release_id),
        )

    async def _or_roll_back(
        self, activation: Awaitable[release_pb2.ActivateReleaseResponse], before: release_pb2.ReleaseInfo
    ) -> release_pb2.ActivateReleaseResponse:
        """Await retrieval's activation; where it fails, have ranking serve what it did before, and say so."""
        try:
            return await activation
        except (ShortlistError, RuntimeError) as refused:
            outcome = await self._roll_back(before)
            raise type(refused)(f"{refused}; {outcome}") from refused

    async def _roll_back(self, before: release_pb2.ReleaseInfo) -> str:
        try:
            served = (await self._ranking.activate(before.location)).release.release_id
        except (ShortlistError, RuntimeError) as error:
            return f"ranking could not be rolled back to {before.release_id}, which it still answers for ({error})"
        return f"ranking was rolled back to {served}"


class ReleaseService(release_pb2_grpc.ReleaseServiceServicer):
    """The contract's service over Releases.

    Args:
        releases: Returns them; raises NotReady before the gateway has started.
    """

    def __init__(self, releases: Callable[[], Releases]) -> None:
        self._releases = releases

    async def GetRelease(  # noqa: N802 - the contract's name
        self, request: release_pb2.GetReleaseRequest, context: Any
    ) -> release_pb2.GetReleaseResponse:
        """Tell what is being served."""
        del request, context
        return await self._releases().look()

    async def ActivateRelease(  # noqa: N802
        self, request: release_pb2.ActivateReleaseRequest, context: Any
    ) -> release_pb2.ActivateReleaseResponse:
        """Change what is being served; raises InvalidRequest without a location."""
        del context
        if not request.location.strip():
            raise InvalidRequest("location: must be the path or URL of a release or of a release store")
        return await self._releases().activate(request.location)


def _strayed(
    retrieval: release_pb2.GetReleaseResponse, ranking: release_pb2.GetReleaseResponse
) -> release_pb2.GetReleaseResponse | None:
    """Return the one that came back on another release than the other serves; None where neither did."""
    came_back = [one for one in (retrieval, ranking) if not one.previous_release_id]
    if retrieval.release.release_id == ranking.release.release_id or not came_back:
        return None
    return min(came_back, key=lambda one: one.release.created_at.ToNanoseconds())


def _merged(retrieval: release_pb2.ReleaseInfo, ranking: release_pb2.ReleaseInfo) -> release_pb2.ReleaseInfo:
    """Return both as one; limits carry the name of the service that sets them."""
    return release_pb2.ReleaseInfo(
        release_id=_common(retrieval.release_id, ranking.release_id),
        created_at=retrieval.created_at,
        service="gateway",
        location=_common(retrieval.location, ranking.location),
        data_source=_common(retrieval.data_source, ranking.data_source),
        data_fingerprint=_common(retrieval.data_fingerprint, ranking.data_fingerprint),
        items=retrieval.items,
        models=sorted([*retrieval.models, *ranking.models], key=lambda model: model.name),
        sources=retrieval.sources,
        index_type=retrieval.index_type,
        limits={**_named("retrieval", retrieval.limits), **_named("ranking", ranking.limits)},
    )


def _named(service: str, limits: Mapping[str, int]) -> dict[str, int]:
    return {f"{service}.{name}": limit for name, limit in limits.items()}


def _common(retrieval: str, ranking: str) -> str:
    """Return the value where both agree, else both with their service's name: it then equals no release's own."""
    return retrieval if retrieval == ranking else f"retrieval: {retrieval}, ranking: {ranking}"
