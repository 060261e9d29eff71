"""A store with three releases, a server that follows it, and other servers that say what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from shortlist.release.v1 import release_pb2

from common.release.pointer import CURRENT, ROLLOUT, set_current
from common.release.store import Release
from common.server.live_release import LiveRelease
from common.server.rollout.follower import ReleaseFollower
from common.server.rollout.replicas import Replicas
from common.server.rollout.stages import RolloutOptions
from common.server.telemetry import Metrics

MakeRelease = Callable[..., Release]


class Engine:
    """An engine that does nothing; some releases cannot be loaded."""

    unloadable: set[str] = set()  # noqa: RUF012 - emptied by the fixture

    def __init__(self, release: Release) -> None:
        if release.id in self.unloadable:
            raise RuntimeError("no such operator")

    def close(self) -> None:
        """Release nothing."""


class Fleet(Replicas):
    """Other servers, as a test says."""

    def __init__(self) -> None:
        self.answers: list[release_pb2.GetReleaseResponse] = []

    def has(self, *held: tuple[str, str], refuses: str = "") -> None:
        """Let each replica hold a current and a previous release."""
        self.answers = [
            release_pb2.GetReleaseResponse(
                release=release_pb2.ReleaseInfo(release_id=current, service="ranking"),
                previous_release_id=previous,
                refused_release_id=refuses,
                refusal="it breaks" if refuses else "",
            )
            for current, previous in held
        ]

    async def releases(self) -> list[release_pb2.GetReleaseResponse]:
        """Return what the test said."""
        return self.answers


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now_s


class Shop:
    """A store with three releases, and a server that follows it."""

    def __init__(self, make_release: MakeRelease, folder: Path, metrics: Metrics) -> None:
        self.first, self.second, self.third = (make_release(marker).id for marker in "abc")
        self.store = folder
        (folder / CURRENT).unlink()
        (folder / ROLLOUT).unlink()
        set_current(folder, self.first)
        self.live: LiveRelease[Engine] = LiveRelease(Engine, metrics)
        self.clock = Clock()

    def follower(
        self, options: RolloutOptions | None = None, first: Fleet | None = None, peers: Fleet | None = None
    ) -> ReleaseFollower[Engine]:
        """Return a follower that has not started."""
        return ReleaseFollower(
            self.live, str(self.store), options or RolloutOptions(poll_s=0.01), first, peers, clock=self.clock
        )

    def point_to(self, release_id: str) -> None:
        """Set the pointer, at the clock's time."""
        set_current(self.store, release_id)

    @property
    def held(self) -> tuple[str, str]:
        """The current and the previous release of the server."""
        return self.live.current_id, self.live.previous_id

    def call(self, release_id: str = "", error: type[BaseException] | None = None) -> None:
        """Make a call, which fails with an error if there is one."""
        with self.live.lease(release_id):
            if error is not None:
                raise error("failed")


@pytest.fixture
async def shop(make_release: MakeRelease, tmp_path: Path, metrics: Metrics) -> AsyncIterator[Shop]:
    """Return the store and its server."""
    Engine.unloadable.clear()
    made = Shop(make_release, tmp_path / "store", metrics)
    made.clock.now_s = 2e9  # long after the pointer was set
    yield made
    await made.live.close()


@pytest.fixture
def fleet() -> type[Fleet]:
    """Return the class of other servers."""
    return Fleet


@pytest.fixture
def unloadable() -> set[str]:
    """Return the ids of releases that cannot be loaded; a test adds to it."""
    return Engine.unloadable
