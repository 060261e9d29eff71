"""The gateway's metrics."""

from __future__ import annotations

from shortlist.gateway.v1 import gateway_pb2

from testing.gateway_client import GatewayClient


async def test_answers_are_counted(client: GatewayClient):
    """Answers, stages, candidates and items below the threshold are in the metrics."""
    await client.recommend(user_id="ann", limit=1, policy=gateway_pb2.Policy(min_probability=0.5))
    text = await client.metrics()
    assert 'shortlist_gateway_recommendations_total{stages="both"} 1.0' in text
    assert 'shortlist_gateway_degradations_total{kind="RETRIEVAL_UNAVAILABLE"} 0.0' in text
    for stage in ("profile", "retrieval", "ranking", "policy"):
        assert f'shortlist_gateway_stage_seconds_count{{stage="{stage}"}} 1.0' in text
    assert "shortlist_gateway_candidates_sum 40.0" in text
    assert "shortlist_gateway_below_threshold_total 20.0" in text
    assert 'shortlist_gateway_release_info{release_id="r1"} 1.0' in text
    assert "shortlist_gateway_call_limit 256.0" in text
    assert "shortlist_gateway_answer_lateness_seconds 0.0" in text


async def test_the_long_tail_is_measured(client: GatewayClient):
    """Long-tail items, substitutions and the share of the long tail are in the metrics."""
    await client.recommend(limit=5, policy=gateway_pb2.Policy(min_long_tail_share=0.3))
    text = await client.metrics()
    assert "shortlist_gateway_long_tail_items_total 2.0" in text
    assert "shortlist_gateway_long_tail_substitutions_total 2.0" in text
    assert "shortlist_gateway_long_tail_share 0.4" in text
