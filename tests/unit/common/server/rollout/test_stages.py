"""When a replica takes a new release."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st

from common.server.rollout.stages import RolloutOptions, hash_share


def test_canaries_are_about_the_share_that_is_asked_for():
    """Of 1,000 names about a quarter is chosen, always the same ones, and a larger share has all of a smaller one."""
    names = [f"shop-ranking-{n}" for n in range(1_000)]
    chosen = {name for name in names if RolloutOptions(canary_share=0.25, replica=name).is_canary}
    assert 200 < len(chosen) < 300
    assert chosen <= {name for name in names if RolloutOptions(canary_share=0.5, replica=name).is_canary}


def test_the_others_wait():
    """Canaries wait for nothing; without a share nobody waits, and with all of them nobody either."""
    names = [f"shop-ranking-{n}" for n in range(50)]
    assert {RolloutOptions(canary_share=0.5, canary_pause_s=7, replica=name).wait_s for name in names} == {0.0, 7.0}
    for share in (0.0, 1.0):
        assert {RolloutOptions(canary_share=share, replica=name).wait_s for name in names} == {0.0}


def test_a_replica_has_the_name_of_its_host():
    """Which is the pod's name in Kubernetes."""
    assert RolloutOptions().replica == socket.gethostname()


@given(st.text())
def test_a_name_has_a_share(name: str):
    """It is below 1, so that a share of 1 chooses everyone."""
    assert 0 <= hash_share(name) < 1
