"""The tiers over the wire, on a release that the pipeline built with late interaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import open_release
from common.server.channel import open_channel
from common.server.server import running
from common.server.telemetry import Metrics
from services.ranking.server.server import RankingServer
from services.ranking.settings import Settings

TIMEOUT_S = 20.0


@pytest.fixture
async def channel_of(late_shop: Path):
    """Run ranking services and open channels to them."""
    opened = []

    async def start(**changes: Any) -> Any:
        settings = Settings(release=str(late_shop), port=0, metrics_port=0, request_timeout_s=60.0, **changes)
        metrics = Metrics("ranking")
        serving = running(RankingServer(settings, metrics), settings, metrics)
        ports = await serving.__aenter__()
        channel = open_channel(f"127.0.0.1:{ports.port}")
        opened.append((serving, channel))
        return channel

    yield start
    for serving, channel in opened:
        await channel.close()
        await serving.__aexit__(None, None, None)


@pytest.fixture
def ids(late_shop: Path) -> list[str]:
    """Return the ids of the catalogue's items."""
    return Catalogue.open(open_release(str(late_shop)).file(CATALOGUE)).item_ids


async def _rank(channel: Any, candidates: Any, **request: Any) -> ranking_pb2.RankResponse:
    stub: Any = ranking_pb2_grpc.RankingServiceStub(channel)
    messages = [ranking_pb2.RankCandidate(item_id=one) if isinstance(one, str) else one for one in candidates]
    user = ranking_pb2.UserContext(query="fresh milk")
    return await stub.Rank(ranking_pb2.RankRequest(user=user, candidates=messages, **request), timeout=TIMEOUT_S)


async def test_the_answer_says_which_tier_ranked_each_item(channel_of: Any, ids: list[str]):
    """Every item has a late-interaction score, the best ones a logit; the answer has tiers and timings."""
    channel = await channel_of()
    response = await _rank(channel, ids[:60], late_interaction_depth=40, cross_encoder_depth=8)
    tiers = [item.tier for item in response.items]
    read = [item.HasField("cross_encoder_logit") for item in response.items]
    scored = [item.HasField("late_interaction_score") for item in response.items]
    assert (sum(read), sum(scored)) == (8, 40)
    for tier, was_read, was_scored in zip(tiers, read, scored, strict=True):
        late = ranking_pb2.TIER_LATE_INTERACTION if was_scored else ranking_pb2.TIER_FEATURES
        assert tier == (ranking_pb2.TIER_CROSS_ENCODER if was_read else late)
    assert response.timings.late_interaction_items == 40
    assert 0 < response.timings.late_interaction_ms < response.timings.total_ms
    assert all(0 < item.probability < 1 for item in response.items)


async def test_the_server_says_how_deep_unless_the_request_does(channel_of: Any, ids: list[str]):
    """The settings' depths apply if a request has none."""
    channel = await channel_of(late_interaction_depth=7, cross_encoder_depth=0)
    response = await _rank(channel, ids[:30])
    assert response.timings.late_interaction_items == 7
    assert response.timings.pairs == 0
    assert (await _rank(channel, ids[:30], late_interaction_depth=0)).timings.late_interaction_items == 0


async def test_a_changed_item_is_scored_by_its_new_text(channel_of: Any, ids: list[str]):
    """An item with another text has that text's score, also among items of the release."""
    channel = await channel_of(cross_encoder_depth=0)
    new = ranking_pb2.RankCandidate(item_id=ids[0], text="fresh butter. acme")
    response = await _rank(
        channel, [new, ids[0], ranking_pb2.RankCandidate(text="fresh butter. acme")], late_interaction_depth=9
    )
    scores = [item.late_interaction_score for item in response.items]
    assert scores[0] == pytest.approx(scores[2], abs=1e-5)
    assert scores[0] != pytest.approx(scores[1], abs=1e-5)


async def test_a_tier_that_is_turned_off_has_no_say(channel_of: Any, ids: list[str]):
    """Probabilities differ without late interaction, and are the same for the same request."""
    channel = await channel_of(cross_encoder_depth=0)
    one, other, without = [
        np.array([item.probability for item in (await _rank(channel, ids, late_interaction_depth=depth)).items])
        for depth in (2_000, 2_000, 0)
    ]
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, without)


async def test_the_release_tells_of_the_tier(channel_of: Any):
    """GetRelease has the provider of late interaction."""
    stub: Any = release_pb2_grpc.ReleaseServiceStub(await channel_of())
    info = await stub.GetRelease(release_pb2.GetReleaseRequest(), timeout=TIMEOUT_S)
    assert any("late_interaction" in str(model) for model in info.release.models)
