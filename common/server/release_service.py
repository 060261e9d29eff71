"""The `release.v1.ReleaseService` of a server that serves a release."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic

from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.errors import BadRelease, InvalidRequest
from common.release.store import Release
from common.server.live_release import E, LiveRelease
from common.server.rollout.follower import ReleaseFollower

SERVICE_NAME = release_pb2.DESCRIPTOR.services_by_name["ReleaseService"].full_name


class ReleaseService(release_pb2_grpc.ReleaseServiceServicer, Generic[E]):
    """Returns and changes the release of a `LiveRelease`.

    Args:
        live: The release that is served.
        describe: Describes the release of an engine, starting from `release_info`.
        follower: Returns what follows the store; None if nothing does.
    """

    def __init__(
        self,
        live: LiveRelease[E],
        describe: Callable[[E], release_pb2.ReleaseInfo],
        follower: Callable[[], ReleaseFollower[E] | None] = lambda: None,
    ) -> None:
        self._live = live
        self._describe = describe
        self._follower = follower

    async def GetRelease(  # noqa: N802 - the contract's name
        self, request: release_pb2.GetReleaseRequest, context: Any
    ) -> release_pb2.GetReleaseResponse:
        """Return the release that is served; raises NotReady before the first one."""
        del request, context
        follower = self._follower()
        refusal = None if follower is None else follower.status.refusal
        with self._live.lease(is_call=False) as engine:
            return release_pb2.GetReleaseResponse(
                release=self._describe(engine),
                previous_release_id=self._live.previous_id,
                refused_release_id="" if refusal is None else refusal.release_id,
                refusal="" if refusal is None else refusal.reason,
            )

    async def ActivateRelease(  # noqa: N802
        self, request: release_pb2.ActivateReleaseRequest, context: Any
    ) -> release_pb2.ActivateReleaseResponse:
        """Switch to another release.

        Raises:
            InvalidRequest: There is no location.
            BadRelease: The release cannot be served, or the server follows its store.
        """
        del context
        if not request.location.strip():
            raise InvalidRequest("location: must be the path or URL of a release or of a release store")
        if (follower := self._follower()) is not None:
            raise BadRelease(
                f"this server follows {follower.store} (--release-poll-s), and would go back to what that names; "
                "set it with `python -m pipeline releases … --use …`"
            )
        release_id = await self._live.activate(request.location)
        with self._live.lease(release_id, is_call=False) as engine:
            return release_pb2.ActivateReleaseResponse(
                release=self._describe(engine), previous_release_id=self._live.previous_id
            )


def release_info(service: str, release: Release, providers: Mapping[str, str]) -> release_pb2.ReleaseInfo:
    """Describe a release from its manifest; the engine adds `items`, `sources` and `limits`.

    Args:
        service: The server's name.
        release: The release.
        providers: The execution provider of each model loaded, by the model's name in the manifest.

    Raises:
        BadRelease: The manifest does not list one of the models.
    """
    manifest = release.manifest
    info = release_pb2.ReleaseInfo(
        release_id=release.id,
        service=service,
        location=str(release.path),
        data_source=manifest.data.source,
        data_fingerprint=manifest.data.fingerprint,
        items=manifest.data.items,
        models=[_model_info(release, name, providers[name]) for name in sorted(providers)],
    )
    info.created_at.FromDatetime(datetime.fromisoformat(manifest.created_at))
    return info


def _model_info(release: Release, name: str, provider: str) -> release_pb2.ModelInfo:
    if name not in release.manifest.models:
        raise BadRelease(f"release {release.id} has no model {name!r}; rebuild it with `python -m pipeline build`")
    card = release.manifest.models[name]
    return release_pb2.ModelInfo(
        name=name,
        sha256=release.manifest.files[card.file].sha256,
        precision=card.precision,
        execution_provider=provider,
        base_model=f"{card.base_model} ({card.base_model_origin})",
    )
