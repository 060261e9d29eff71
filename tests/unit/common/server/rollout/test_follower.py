"""A server that follows its store: which release it serves, when it takes another, and when it goes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from shortlist.release.v1 import release_pb2

from common.errors import BadRelease, InvalidRequest
from common.release.pointer import CURRENT, ROLLOUT, set_current, set_paused
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


async def test_a_new_release_is_taken(shop: Shop):
    """When the pointer changes, in either direction."""
    follower = shop.follower()
    await follower.start()
    assert shop.held == (shop.first, "")
    shop.point_to(shop.second)
    await follower.look()
    assert shop.held == (shop.second, shop.first)
    shop.point_to(shop.first)
    await follower.look()
    assert shop.held == (shop.first, shop.second)
    assert follower.status[:3] == (shop.first, "", None)


async def test_nothing_is_taken_while_roll_outs_are_paused(shop: Shop):
    """The status says so; after the pause the release is taken."""
    follower = shop.follower()
    await follower.start()
    set_paused(shop.store, paused=True)
    shop.point_to(shop.second)
    await follower.look()
    assert shop.held == (shop.first, "")
    assert "paused" in follower.status.waits_for
    set_paused(shop.store, paused=False)
    await follower.look()
    assert shop.live.current_id == shop.second


async def test_canaries_go_first(shop: Shop):
    """The others wait for the pause, from the time when the pointer was set."""
    options = RolloutOptions(poll_s=0.01, canary_share=1e-9, canary_pause_s=1e9, replica="x")
    follower = shop.follower(options)
    shop.clock.now_s = 0.0
    await follower.start()
    shop.point_to(shop.second)
    await follower.look()
    assert shop.live.current_id == shop.first
    assert "canaries" in follower.status.waits_for
    shop.clock.now_s = 9e9
    await follower.look()
    assert shop.live.current_id == shop.second


async def test_a_release_is_taken_after_every_server_that_must_have_it_first(shop: Shop):
    """One of them without it, or no answer at all, is waited for; holding it as the previous one is enough."""
    ranking = Fleet()
    ranking.has((shop.first, ""))
    follower = shop.follower(first=ranking)
    await follower.start()
    shop.point_to(shop.second)
    for answers in ([(shop.second, shop.first), (shop.first, "")], []):
        ranking.has(*answers)
        await follower.look()
        assert shop.live.current_id == shop.first
        assert follower.status.waits_for
    ranking.has((shop.second, shop.first), (shop.first, shop.second))
    await follower.look()
    assert shop.live.current_id == shop.second


async def test_what_cannot_be_loaded_is_refused_and_tried_again(shop: Shop):
    """The release before stays, and the status names the reason until a later try succeeds."""
    follower = shop.follower()
    await follower.start()
    Engine.unloadable.add(shop.second)
    shop.point_to(shop.second)
    await follower.look()
    assert shop.held == (shop.first, "")
    assert follower.status.refusal is not None
    assert follower.status.refusal.release_id == shop.second
    assert "no such operator" in follower.status.refusal.reason
    Engine.unloadable.clear()
    await follower.look()
    assert shop.live.current_id == shop.first, "too early for another try"
    shop.clock.now_s += 60
    await follower.look()
    assert shop.live.current_id == shop.second
    assert follower.status.refusal is None


async def test_a_refusal_of_another_server_keeps_it_away(shop: Shop):
    """Of a peer or of one that has it first; the status says whose it is."""
    for fleet in ("first", "peers"):
        others = Fleet()
        others.has((shop.second, shop.first), refuses=shop.second)
        follower = shop.follower(**{fleet: others})
        await follower.start()
        shop.point_to(shop.second)
        await follower.look()
        assert shop.live.current_id == shop.first
        assert "it breaks" in follower.status.waits_for
        shop.point_to(shop.first)


@pytest.mark.parametrize("error", [RuntimeError, TimeoutError])
async def test_a_release_whose_calls_fail_is_taken_back(shop: Shop, error: type[Exception]):
    """It is refused from then on, until the pointer is set again."""
    follower = shop.follower()
    await follower.start()
    shop.point_to(shop.second)
    await follower.look()
    for _ in range(20):
        with pytest.raises(error):
            shop.call(error=error)
    await follower.look()
    assert shop.held == (shop.first, shop.second)
    assert follower.status.taken_back == 1
    assert follower.status.refusal is not None
    assert "20 of 20 calls failed" in follower.status.refusal.reason
    shop.clock.now_s += 1e9
    await follower.look()
    assert shop.live.current_id == shop.first
    shop.point_to(shop.third)
    await follower.look()
    assert shop.live.current_id == shop.third


async def test_what_is_not_the_releases_fault_takes_nothing_back(shop: Shop):
    """Invalid requests, a share of failures as before, few calls, and failures after the trial."""
    follower = shop.follower()
    await follower.start()
    for _ in range(20):
        with pytest.raises(RuntimeError):
            shop.call(error=RuntimeError)
    shop.point_to(shop.second)
    await follower.look()
    for _ in range(30):
        with pytest.raises(RuntimeError):
            shop.call(error=RuntimeError)  # as before
    await follower.look()
    assert shop.live.current_id == shop.second
    shop.point_to(shop.third)
    shop.clock.now_s += 1
    await follower.look()
    shop.point_to(shop.first)
    await follower.look()  # its new engine has no failures before it that count
    for _ in range(30):
        with pytest.raises(InvalidRequest):
            shop.call(error=InvalidRequest)
    await follower.look()
    assert shop.live.current_id == shop.first
    shop.clock.now_s += 1e9
    for _ in range(100):
        with pytest.raises(RuntimeError):
            shop.call(error=RuntimeError)
    await follower.look()
    assert shop.live.current_id == shop.first


async def test_a_release_that_ranking_takes_back_is_taken_back_by_retrieval(shop: Shop):
    """Retrieval names the release of each answer, so it has to go back."""
    ranking = Fleet()
    ranking.has((shop.second, shop.first))
    follower = shop.follower(first=ranking)
    await follower.start()
    shop.point_to(shop.second)
    await follower.look()
    assert shop.live.current_id == shop.second
    ranking.has((shop.first, shop.second), refuses=shop.second)
    await follower.look()
    assert shop.held == (shop.first, shop.second)
    assert follower.status.refusal is not None
    assert "ranking refuses it: it breaks" in follower.status.refusal.reason


async def test_a_release_that_is_called_is_not_let_go(shop: Shop):
    """With two releases in use a third one waits; with one in use that one stays, even if it is the older one."""
    follower = shop.follower(RolloutOptions(poll_s=1e6))
    await follower.start()
    shop.point_to(shop.second)
    await follower.look()
    shop.call(shop.first)
    shop.point_to(shop.third)
    await follower.look()
    assert shop.held == (shop.second, shop.first), "the second one may be called soon"
    shop.clock.now_s += 3_600
    await follower.look()
    assert shop.held == (shop.third, shop.first)
    shop.call(shop.third)
    shop.point_to(shop.second)
    await follower.look()
    assert shop.held == (shop.third, shop.first)
    assert shop.first in follower.status.waits_for


async def test_a_start_during_a_roll_out_loads_both_releases(shop: Shop):
    """Other servers name either. Long after, only the new one is loaded."""
    shop.point_to(shop.second)
    await shop.follower().start()
    assert shop.held == (shop.second, "")
    await shop.live.close()
    shop.clock.now_s = 0.0
    await shop.follower().start()
    assert shop.held == (shop.second, shop.first)


async def test_a_start_before_its_turn_serves_the_release_before(shop: Shop):
    """If the servers that must have the new one first do not have it; and the new one once they do."""
    ranking = Fleet()
    ranking.has((shop.first, ""))
    shop.point_to(shop.second)
    await shop.follower(first=ranking).start()
    assert shop.held == (shop.first, "")
    await shop.live.close()
    ranking.has((shop.second, shop.first))
    await shop.follower(first=ranking).start()
    assert shop.held == (shop.second, "")


async def test_a_start_with_a_bad_release_serves_the_one_before(shop: Shop):
    """It refuses the bad one; without one before it cannot start."""
    Engine.unloadable.add(shop.second)
    shop.point_to(shop.second)
    follower = shop.follower()
    await follower.start()
    assert shop.live.current_id == shop.first
    assert follower.status.refusal is not None
    await shop.live.close()
    (shop.store / ROLLOUT).unlink()
    with pytest.raises(BadRelease, match="no such operator"):
        await shop.follower().start()
