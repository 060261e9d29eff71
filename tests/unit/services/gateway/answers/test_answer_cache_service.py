"""Shared answers of a running gateway: each change makes the next one new."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shortlist.gateway.v1 import gateway_pb2, rules_pb2
from shortlist.release.v1 import release_pb2

from services.gateway.impressions.log_files import PATTERN
from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient, item_ids, running_gateway

MakeSettings = Callable[..., Settings]


@pytest.fixture
def cached_settings(backends: Backends, tmp_path: Path) -> MakeSettings:
    """Return a function that makes the settings of a gateway that keeps answers for an hour."""

    def make(**changed: Any) -> Settings:
        given = {
            "port": 0,
            "metrics_port": 0,
            "retrieval_target": backends.retrieval_target,
            "ranking_target": backends.ranking_target,
            "profiles": str(tmp_path / "profiles.db"),
            "default_timeout_s": 10,
            "request_timeout_s": 20,
            "answer_cache_s": 3_600,
            "release_sync_interval_s": 0,
            **changed,
        }
        return Settings(**given)

    return make


async def _is_kept(client: GatewayClient, user_id: str = "ann") -> bool:
    return (await client.recommend(user_id=user_id, limit=2)).HasField("answer_age_s")


async def _event(client: GatewayClient) -> None:
    view = gateway_pb2.Event(event_id="e", user_id="ann", kind=gateway_pb2.EVENT_KIND_VIEW, item_id="item-3")
    await client.record_events(view)


async def _rule(client: GatewayClient) -> None:
    block = rules_pb2.Rule(
        rule_id="r", kind=rules_pb2.RULE_KIND_BLOCK, items=rules_pb2.ItemSelection(item_ids=["item-39"])
    )
    await client.rules.PutRules(rules_pb2.PutRulesRequest(rules=[block]))


async def _release(client: GatewayClient) -> None:
    await client.releases.ActivateRelease(release_pb2.ActivateReleaseRequest(location="/releases/r2"))


async def _forget(client: GatewayClient) -> None:
    await client.recommendations.ForgetUser(gateway_pb2.ForgetUserRequest(user_id="ann"))


@pytest.mark.parametrize(
    ("change", "first", "of_others_kept"),
    [(_event, "item-39", True), (_rule, "item-38", False), (_release, "item-39", False), (_forget, "item-39", True)],
)
async def test_a_change_makes_the_next_answer_new(
    cached_settings: MakeSettings, change: Callable[..., Any], first: str, of_others_kept: bool
):
    """An event and an erasure do for their user, a rule and a release for everybody."""
    async with running_gateway(cached_settings()) as client:
        before = [await _is_kept(client, user) for user in ("ann", "bob", "ann", "bob")]
        await change(client)
        of_others = await _is_kept(client, "bob")
        after = await client.recommend(user_id="ann", limit=2)
        again = await _is_kept(client)
    assert before == [False, False, True, True]
    assert of_others == of_others_kept
    assert not after.HasField("answer_age_s")
    assert item_ids(after)[0] == first
    assert again


async def test_a_kept_answer_is_an_impression_of_its_own(
    cached_settings: MakeSettings, backends: Backends, tmp_path: Path
):
    """It has its own request id in answer and log; the stages are called once, and metrics say so."""
    async with running_gateway(cached_settings(impressions_log=tmp_path / "log")) as client:
        calls = len(backends.retrieval.requests)
        answers = [await client.recommend(user_id="ann", limit=2, explain=explain) for explain in (False, True)]
        calls = len(backends.retrieval.requests) - calls
        text = await client.metrics()
    (file,) = (tmp_path / "log").glob(PATTERN)
    shown = [json.loads(line) for line in file.read_text().splitlines()]
    assert calls == 1
    assert [record["request_id"] for record in shown] == [answer.request_id for answer in answers]
    assert shown[0]["request_id"] != shown[1]["request_id"]
    assert shown[0]["items"] == shown[1]["items"] == item_ids(answers[1])
    assert answers[1].items[0].reasons
    assert answers[1].timings.ranking_ms == 0.0
    for outcome, count in (("hit", 1), ("join", 0), ("miss", 1), ("bypass", 0)):
        assert f'shortlist_gateway_answer_cache_requests_total{{outcome="{outcome}"}} {count}.0' in text
    assert "shortlist_gateway_kept_answers 1.0" in text
    assert 'shortlist_gateway_recommendations_total{stages="both"} 2.0' in text
    assert "shortlist_gateway_candidates_count 1.0" in text


async def test_random_positions_are_not_kept(cached_settings: MakeSettings):
    """Each answer has its own draws."""
    async with running_gateway(cached_settings(exploration_share=0.5)) as client:
        assert [await _is_kept(client), await _is_kept(client)] == [False, False]
        assert 'shortlist_gateway_answer_cache_requests_total{outcome="bypass"} 2.0' in await client.metrics()


async def test_by_default_each_answer_is_computed(cached_settings: MakeSettings):
    """Identical requests are two."""
    async with running_gateway(cached_settings(answer_cache_s=0)) as client:
        assert [await _is_kept(client), await _is_kept(client)] == [False, False]
