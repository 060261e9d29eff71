"""How a server comes by its release: once at its start, or by following a store."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from prometheus_client import Gauge, Info
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from common.release.location import ReleaseOpener
from common.server.access.release_settings import ReleaseServerSettings
from common.server.health import Dependencies
from common.server.live_release import LiveRelease
from common.server.rollout.follower import ReleaseFollower, Status
from common.server.rollout.replicas import Replicas
from common.server.telemetry import Metrics

HEALTH_NAME = "release"


class ServedRelease:
    """Opens the release of the settings, and follows its store if they say so.

    Args:
        live: Serves the releases.
        settings: What to serve.
        metrics: Where it says what it follows.
        dependencies: Health of the name `release`: NOT_SERVING while the store's release is refused.
    """

    def __init__(
        self, live: LiveRelease[Any], settings: ReleaseServerSettings, metrics: Metrics, dependencies: Dependencies
    ) -> None:
        self._live = live
        self._settings = settings
        self._dependencies = dependencies
        self._following: asyncio.Task[None] | None = None
        self._opener = ReleaseOpener()
        self._metrics = RolloutMetrics(metrics) if settings.release_poll_s else None
        self.follower: ReleaseFollower[Any] | None = None

    async def start(self, opener: ReleaseOpener, first: Replicas | None, peers: Replicas | None) -> None:
        """Serve the release, and follow the store from now on.

        Args:
            opener: Opens the releases.
            first: The replicas that must have a release before this server takes it; None for none.
            peers: The replicas of this service; None if they are not known.

        Raises:
            BadRelease: It cannot be served.
        """
        settings = self._settings
        if not settings.release_poll_s:
            await self._live.activate(settings.release)
            return
        self._opener = opener
        self.follower = ReleaseFollower(
            self._live, settings.release, settings.rollout_options(), first, peers, self._show
        )
        await self.follower.start()
        self._following = asyncio.create_task(self.follower.follow())

    async def close(self) -> None:
        """Stop following; the releases stay open."""
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following

    def _show(self, status: Status) -> None:
        self._dependencies.set_answers(HEALTH_NAME, answers=status.refusal is None)
        if self._metrics is not None:
            self._metrics.show(status, self._live.current_id)
        self._opener.remove_copies_except({self._live.current_id, self._live.previous_id, status.wanted_id})


class RolloutMetrics(Collector):
    """What a server follows, and how far it got."""

    def __init__(self, metrics: Metrics) -> None:
        names: dict[str, Any] = {"namespace": metrics.namespace, "registry": metrics.registry}
        self._namespace = metrics.namespace
        self._taken_back = 0
        self._wanted = Info("wanted_release", "The release that the store names.", **names)
        self._behind = Gauge("release_behind", "1 while another release is served than the store names.", **names)
        self._refused = Gauge(
            "release_refused", "1 while the store's release is refused: not loadable, or taken back.", **names
        )
        metrics.registry.register(self)

    def collect(self) -> list[CounterMetricFamily]:
        """Return how many releases were taken back."""
        counter = CounterMetricFamily(f"{self._namespace}_releases_taken_back", "Releases taken back after a trial.")
        counter.add_metric((), self._taken_back)
        return [counter]

    def show(self, status: Status, current_id: str) -> None:
        """Export a status."""
        self._wanted.info({"release_id": status.wanted_id})
        self._behind.set(status.wanted_id != current_id)
        self._refused.set(status.refusal is not None)
        self._taken_back = status.taken_back
