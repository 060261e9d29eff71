"""A server that follows its store: when it takes another release, and when it goes back."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import InvalidRequest
from common.release.pointer import set_paused
from common.server.rollout.stages import RolloutOptions


async def test_a_new_release_is_taken(shop: Any):
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


async def test_nothing_is_taken_while_roll_outs_are_paused(shop: Any):
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


async def test_canaries_go_first(shop: Any):
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


async def test_a_release_is_taken_after_every_server_that_must_have_it_first(shop: Any, fleet: Any):
    """One of them without it, or no answer at all, is waited for; holding it as the previous one is enough."""
    ranking = fleet()
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


async def test_what_cannot_be_loaded_is_refused_and_tried_again(shop: Any, unloadable: set[str]):
    """The release before stays, and the status names the reason until a later try succeeds."""
    follower = shop.follower()
    await follower.start()
    unloadable.add(shop.second)
    shop.point_to(shop.second)
    await follower.look()
    assert shop.held == (shop.first, "")
    assert follower.status.refusal is not None
    assert follower.status.refusal.release_id == shop.second
    assert "no such operator" in follower.status.refusal.reason
    unloadable.clear()
    await follower.look()
    assert shop.live.current_id == shop.first, "too early for another try"
    shop.clock.now_s += 60
    await follower.look()
    assert shop.live.current_id == shop.second
    assert follower.status.refusal is None


async def test_a_refusal_of_another_server_keeps_it_away(shop: Any, fleet: Any):
    """Of a peer or of one that has it first; the status says whose it is."""
    for role in ("first", "peers"):
        others = fleet()
        others.has((shop.second, shop.first), refuses=shop.second)
        follower = shop.follower(**{role: others})
        await follower.start()
        shop.point_to(shop.second)
        await follower.look()
        assert shop.live.current_id == shop.first
        assert "it breaks" in follower.status.waits_for
        shop.point_to(shop.first)


@pytest.mark.parametrize("error", [RuntimeError, TimeoutError])
async def test_a_release_whose_calls_fail_is_taken_back(shop: Any, error: type[Exception]):
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


async def test_what_is_not_the_releases_fault_takes_nothing_back(shop: Any):
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


async def test_a_release_that_ranking_takes_back_is_taken_back_by_retrieval(shop: Any, fleet: Any):
    """Retrieval names the release of each answer, so it has to go back."""
    ranking = fleet()
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


async def test_a_release_that_is_called_is_not_let_go(shop: Any):
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
