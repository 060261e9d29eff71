"""The release of retrieval and ranking, read and changed as one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shortlist.release.v1 import release_pb2

from common.errors import BadRelease, ShortlistError
from services.gateway.backends.release_client import ReleaseClient


class ReleaseCoordinator:
    """Reads and changes the release of both services as one.

    Ranking changes first. It still answers for its previous release, from which retrieval's candidates come until
    retrieval has changed too, so no answer mixes two releases.

    Args:
        retrieval: The client of retrieval.
        ranking: The client of ranking.
        on_change: Called after every change.
    """

    def __init__(self, retrieval: ReleaseClient, ranking: ReleaseClient, on_change: Callable[[], None]) -> None:
        self._retrieval = retrieval
        self._ranking = ranking
        self._on_change = on_change
        self._one_at_a_time = asyncio.Lock()
        self._served: tuple[str, str] | None = None
        self._activations: set[asyncio.Task[Any]] = set()

    async def get_release(self) -> release_pb2.GetReleaseResponse:
        """Return the release that is served; raises NotReady naming a service that does not answer."""
        retrieval, ranking = await asyncio.gather(self._retrieval.get_release(), self._ranking.get_release())
        return release_pb2.GetReleaseResponse(
            release=_merged(retrieval.release, ranking.release),
            previous_release_id=_common(retrieval.previous_release_id, ranking.previous_release_id),
        )

    async def activate(self, location: str) -> release_pb2.ActivateReleaseResponse:
        """Have both services serve the release at ``location``, or neither; completes even if the caller cancels.

        Raises:
            BadRelease: One service refused it, and both serve what they did before; the message says which and why.
            NotReady: One service does not answer.
        """
        task = asyncio.create_task(self._activate(location))
        self._activations.add(task)  # the event loop itself holds tasks weakly
        task.add_done_callback(self._activations.discard)
        return await asyncio.shield(task)

    async def align(self) -> str:
        """Have a service that restarted with another release serve the release that answers come from.

        A restarted service opens the current release of its store, which need not be the one that was activated. It is
        recognised by having no previous release; if neither has one, the newer release wins. An activation through
        another gateway is completed and never reverted: ranking changes first, so it has a previous release.

        Returns:
            What was changed, as a sentence; empty if both serve the same release, or each was activated separately.

        Raises:
            ShortlistError: A service does not answer or refuses the release.
        """
        changes = [change for change in (await self._align_replicas(), await self._align_services()) if change]
        return "; ".join(changes)

    async def _align_replicas(self) -> str:
        async with self._one_at_a_time:
            changes = [await client.align_replicas() for client in (self._retrieval, self._ranking)]
        return "; ".join(filter(None, changes))

    async def _align_services(self) -> str:
        async with self._one_at_a_time:
            retrieval, ranking = await asyncio.gather(self._retrieval.get_release(), self._ranking.get_release())
            self._notice(retrieval.release.release_id, ranking.release.release_id)
            outdated = _restarted(retrieval, ranking)
            if outdated is None:
                return ""
            client, wanted = (self._ranking, retrieval) if outdated is ranking else (self._retrieval, ranking)
            await client.activate(wanted.release.location)
        self._on_change()
        return f"{client.name} restarted with {outdated.release.release_id} and now serves {wanted.release.release_id}"

    def _notice(self, *served: str) -> None:
        """Report a release that the services changed to by themselves, or through another gateway."""
        if self._served not in {None, served}:
            self._on_change()
        self._served = (served[0], served[1])

    async def _activate(self, location: str) -> release_pb2.ActivateReleaseResponse:
        async with self._one_at_a_time:
            before = (await self._ranking.get_release()).release
            ranking = await self._ranking.activate(location)
            retrieval = await self._or_roll_back(self._retrieval.activate(location), before)
            self._served = (retrieval.release.release_id, ranking.release.release_id)
        self._on_change()
        if retrieval.release.release_id != ranking.release.release_id:
            raise BadRelease(
                f"ranking now serves {ranking.release.release_id} and retrieval {retrieval.release.release_id}: the "
                f"release at {location} changed in between; activate it again"
            )
        return release_pb2.ActivateReleaseResponse(
            release=_merged(retrieval.release, ranking.release),
            previous_release_id=_common(retrieval.previous_release_id, ranking.previous_release_id),
        )

    async def _or_roll_back(
        self, activation: Awaitable[release_pb2.ActivateReleaseResponse], before: release_pb2.ReleaseInfo
    ) -> release_pb2.ActivateReleaseResponse:
        """Await retrieval's activation; if it fails, roll ranking back and say so in the message."""
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


def _restarted(
    retrieval: release_pb2.GetReleaseResponse, ranking: release_pb2.GetReleaseResponse
) -> release_pb2.GetReleaseResponse | None:
    """Return the service that restarted with another release than the other serves; None if neither did."""
    restarted = [one for one in (retrieval, ranking) if not one.previous_release_id]
    if retrieval.release.release_id == ranking.release.release_id or not restarted:
        return None
    return min(restarted, key=lambda one: one.release.created_at.ToNanoseconds())


def _merged(retrieval: release_pb2.ReleaseInfo, ranking: release_pb2.ReleaseInfo) -> release_pb2.ReleaseInfo:
    """Return both as one; each limit is prefixed with the name of its service."""
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
        limits={**_prefixed("retrieval", retrieval.limits), **_prefixed("ranking", ranking.limits)},
    )


def _prefixed(service: str, limits: Mapping[str, int]) -> dict[str, int]:
    return {f"{service}.{name}": limit for name, limit in limits.items()}


def _common(retrieval: str, ranking: str) -> str:
    """Return the value if both agree, else both with their services' names, which is no valid release id."""
    return retrieval if retrieval == ranking else f"retrieval: {retrieval}, ranking: {ranking}"
