"""What a server that follows its store serves when it starts."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import BadRelease
from common.release.pointer import ROLLOUT


async def test_a_start_during_a_roll_out_loads_both_releases(shop: Any):
    """Other servers name either. Long after, only the new one is loaded."""
    shop.point_to(shop.second)
    await shop.follower().start()
    assert shop.held == (shop.second, "")
    await shop.live.close()
    shop.clock.now_s = 0.0
    await shop.follower().start()
    assert shop.held == (shop.second, shop.first)


async def test_a_start_before_its_turn_serves_the_release_before(shop: Any, fleet: Any):
    """If the servers that must have the new one first do not have it; and the new one once they do."""
    ranking = fleet()
    ranking.has((shop.first, ""))
    shop.point_to(shop.second)
    await shop.follower(first=ranking).start()
    assert shop.held == (shop.first, "")
    await shop.live.close()
    ranking.has((shop.second, shop.first))
    await shop.follower(first=ranking).start()
    assert shop.held == (shop.second, "")


async def test_a_start_with_a_bad_release_serves_the_one_before(shop: Any, unloadable: set[str]):
    """It refuses the bad one; without one before it cannot start."""
    unloadable.add(shop.second)
    shop.point_to(shop.second)
    follower = shop.follower()
    await follower.start()
    assert shop.live.current_id == shop.first
    assert follower.status.refusal is not None
    await shop.live.close()
    (shop.store / ROLLOUT).unlink()
    with pytest.raises(BadRelease, match="no such operator"):
        await shop.follower().start()
