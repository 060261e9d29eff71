"""Writing responses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shortlist.ranking.v1 import ranking_pb2

from services.ranking.cascade.results import Ranking
from services.ranking.pairs.pair_scores import PairResult, PairScores
from services.ranking.release_settings import TierDepths
from services.ranking.server.response_messages import write_columns_response, write_rank_response

NAN = np.nan


@pytest.fixture
def ranking() -> Ranking:
    """Three candidates: one by features alone, one by late interaction, one by the cross-encoder."""
    scores = PairScores(np.array([1.5], np.float32), queue_wait_ms=1.0, infer_ms=2.0, padded_tokens=30, delivered=1)
    return Ranking(
        np.array([0.2, 0.9, 0.4], np.float32),
        np.array([NAN, NAN, 1.5], np.float32),
        np.array([NAN, -0.5, 0.25], np.float32),
        TierDepths(late_interaction=3, cross_encoder=2),
        PairResult(scores, read=1),
        tokenise_ms=3.0,
        late_ms=4.0,
        fuse_ms=5.0,
        total_ms=20.0,
        read_at=0.0,
    )


def _request(*, sort: bool = False) -> ranking_pb2.RankRequest:
    return ranking_pb2.RankRequest(candidates=[ranking_pb2.RankCandidate(item_id=name) for name in "abc"], sort=sort)


def test_items_are_in_the_order_of_the_request(ranking: Ranking):
    """Each item has index, id, probability and tier; scores that a tier did not compute are unset."""
    response = write_rank_response(ranking, _request(), "r1", 2)
    assert [(item.index, item.item_id) for item in response.items] == [(0, "a"), (1, "b"), (2, "c")]
    assert [item.probability for item in response.items] == pytest.approx([0.2, 0.9, 0.4])
    assert [item.tier for item in response.items] == [
        ranking_pb2.TIER_FEATURES,
        ranking_pb2.TIER_LATE_INTERACTION,
        ranking_pb2.TIER_CROSS_ENCODER,
    ]
    assert [item.HasField("cross_encoder_logit") for item in response.items] == [False, False, True]
    assert [item.HasField("late_interaction_score") for item in response.items] == [False, True, True]
    assert (response.release_id, response.ignored_history_items) == ("r1", 2)


def test_sorted_items_keep_their_index(ranking: Ranking):
    """With ``sort`` the most probable item comes first."""
    items = write_rank_response(ranking, _request(sort=True), "r1", 0).items
    assert [(item.index, item.item_id) for item in items] == [(1, "b"), (2, "c"), (0, "a")]


def test_columns_hold_what_the_items_hold(ranking: Ranking):
    """They are in the order of the request, NaN for a score that a tier did not compute; an unused tier has none."""
    items, response = write_rank_response(ranking, _request(), "r1", 2), write_columns_response(ranking, "r1", 2)
    columns = response.columns
    assert list(columns.probabilities) == [item.probability for item in items.items]
    assert list(columns.tiers) == [item.tier for item in items.items]
    np.testing.assert_array_equal(columns.cross_encoder_logits, [NAN, NAN, 1.5])
    np.testing.assert_array_equal(columns.late_interaction_scores, [NAN, -0.5, 0.25])
    for name in ("release_id", "timings", "ignored_history_items", "tiers"):
        assert getattr(response, name) == getattr(items, name)
    unread = replace(ranking, logit=np.full(3, NAN, np.float32))
    assert not write_columns_response(unread, "r1", 0).columns.cross_encoder_logits


def test_the_answer_says_what_a_planned_tier_left_out(ranking: Ranking):
    """Each planned tier has how many candidates it was given, scored and left out; an unplanned one is not listed."""
    uses = write_rank_response(ranking, _request(), "r1", 0).tiers
    assert list(uses) == [
        ranking_pb2.TierUse(tier=ranking_pb2.TIER_LATE_INTERACTION, planned_items=3, scored_items=2, left_out_items=1),
        ranking_pb2.TierUse(tier=ranking_pb2.TIER_CROSS_ENCODER, planned_items=2, scored_items=1, left_out_items=1),
    ]
    unplanned = replace(ranking, planned=TierDepths(late_interaction=0, cross_encoder=2))
    uses = write_rank_response(unplanned, _request(), "r1", 0).tiers
    assert [use.tier for use in uses] == [ranking_pb2.TIER_CROSS_ENCODER]


def test_timings_are_those_of_the_ranking(ranking: Ranking):
    """Each step's time, the pairs read and the items scored by late interaction."""
    timings = write_rank_response(ranking, _request(), "r1", 0).timings
    assert timings == ranking_pb2.RankTimings(
        queue_wait_ms=1.0,
        tokenise_ms=3.0,
        infer_ms=2.0,
        fuse_ms=5.0,
        total_ms=20.0,
        pairs=1,
        padded_tokens=30,
        late_interaction_ms=4.0,
        late_interaction_items=2,
    )
