"""The gateway's RPC methods over fake services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from shortlist.gateway.v1 import gateway_pb2
from shortlist.ranking.v1 import ranking_pb2

from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient, item_ids, running_gateway

MakeSettings = Callable[..., Settings]


def _event(event_id: str, kind: int = gateway_pb2.EVENT_KIND_PURCHASE, **fields: Any) -> gateway_pb2.Event:
    given = {"user_id": "ann", "item_id": "item-3", **fields}
    return gateway_pb2.Event(event_id=event_id, kind=kind, **given)  # type: ignore[arg-type]  # an enum's number


async def test_a_full_answer(client: GatewayClient):
    """Items come best first with probability, scores, ranks and attributes, and without reasons by default."""
    response = await client.recommend(limit=2)
    assert item_ids(response) == ["item-39", "item-38"]
    best = response.items[0]
    assert (best.title, best.brand, best.category, best.price) == ("title 39", "brand-3", "category-1", 39.0)
    assert best.probability == pytest.approx(40 / 41)
    assert best.cross_encoder_logit == pytest.approx(39)
    assert (best.late_interaction_score, best.tier) == (-39, ranking_pb2.TIER_CROSS_ENCODER)
    assert (best.first_stage_rank, best.first_stage_score) == (40, pytest.approx(0.61))
    assert not best.reasons
    assert not best.sources
    assert response.release_id == "r1"
    assert not response.degradations
    assert response.timings.total_ms >= response.timings.retrieval_ms + response.timings.ranking_ms > 0


async def test_the_answer_says_which_tiers_left_candidates_out(client: GatewayClient, backends: Backends):
    """What ranking says of its tiers is in the answer and is counted; without ranking there is nothing to say."""
    backends.ranking.unread = 15
    (use,) = (await client.recommend(limit=2)).tiers
    assert (use.tier, use.planned_items, use.scored_items) == (ranking_pb2.TIER_CROSS_ENCODER, 40, 25)
    assert use.left_out_items == 15
    text = await client.metrics()
    assert 'shortlist_gateway_tier_items_total{outcome="scored",tier="cross_encoder"} 25.0' in text
    assert 'shortlist_gateway_tier_items_total{outcome="left_out",tier="cross_encoder"} 15.0' in text
    first = await client.recommend(policy=gateway_pb2.Policy(stages=gateway_pb2.STAGES_FIRST))
    assert not first.tiers


async def test_ten_items_are_the_default(client: GatewayClient):
    """A limit left unset is ten."""
    assert len((await client.recommend()).items) == 10


async def test_reasons_are_given_on_request(client: GatewayClient):
    """With explain, an item has the scores of its sources and its reasons."""
    response = await client.recommend(limit=1, explain=True, history_item_ids=["item-39", "item-39"])
    (item,) = response.items
    assert [each.source for each in item.sources] == ["behaviour", "popular"]
    assert item.reasons[0].kind == gateway_pb2.REASON_KIND_IN_HISTORY
    assert item.reasons[0].text == "bought or viewed twice before"
    assert [reason.kind for reason in item.reasons[1:]] == [
        gateway_pb2.REASON_KIND_POPULAR,
        gateway_pb2.REASON_KIND_BEHAVIOUR,
    ]


async def test_reasons_have_the_language_of_the_request(client: GatewayClient):
    """The answer says which one that is: English for a language without sentences, none without reasons."""
    answers = {tag: await client.recommend(limit=1, explain=True, language=tag) for tag in ("", "zh-CN", "fr")}
    texts = {tag: (answer.language, answer.items[0].reasons[0].text) for tag, answer in answers.items()}
    assert texts == {
        "": ("en", "many users buy it"),
        "zh-CN": ("zh", "许多用户购买"),
        "fr": ("en", "many users buy it"),
    }
    assert not (await client.recommend(limit=1, language="zh")).language
    asked = gateway_pb2.RecommendRequest(limit=1, explain=True, language="zh")
    explained = await client.recommendations.Explain(gateway_pb2.ExplainRequest(request=asked, item_id="item-39"))
    assert (explained.language, explained.item) == ("zh", answers["zh-CN"].items[0])
    batch = client.recommendations.BatchRecommend(iter([gateway_pb2.BatchRecommendRequest(id="a", request=asked)]))
    (answer,) = [each.response async for each in batch]
    assert (answer.language, list(answer.items)) == ("zh", list(answers["zh-CN"].items))
    near = await client.recommendations.SimilarItems(
        gateway_pb2.SimilarItemsRequest(item_id="item-1", limit=1, explain=True, language="zh")
    )
    assert (near.language, near.items[0].reasons[0].text) == ("zh", "与该商品相似")
    with pytest.raises(grpc.aio.AioRpcError, match="language: more than 35 bytes"):
        await client.recommend(language="x" * 36)


async def test_an_item_of_an_answer_is_explained(client: GatewayClient):
    """Explain answers with the item as Recommend does, its reasons, its rank and ranking's explanation."""
    recommended = (await client.recommend(limit=2, explain=True, history_item_ids=["item-39"])).items[1]
    request = gateway_pb2.ExplainRequest(
        request=gateway_pb2.RecommendRequest(history_item_ids=["item-39"]), item_id="item-38"
    )
    explained = await client.recommendations.Explain(request, timeout=10)
    assert explained.item == recommended
    assert explained.rank == 2
    assert [(each.name, each.contribution) for each in explained.ranking.features] == [("logit", 0.5)]
    assert explained.release_id == "r1"


async def test_only_candidates_are_explained(client: GatewayClient):
    """An item that is not among the candidates is NOT_FOUND, and an item must be named."""
    for item_id, code in (("blocked", grpc.StatusCode.NOT_FOUND), ("", grpc.StatusCode.INVALID_ARGUMENT)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.recommendations.Explain(gateway_pb2.ExplainRequest(item_id=item_id), timeout=10)
        assert refused.value.code() is code
        assert "item_id" in str(refused.value.details())


async def test_an_explanation_without_ranking_has_reasons_alone(client: GatewayClient):
    """If the request leaves out ranking, its part is unset and the rank is the first stage's."""
    first = gateway_pb2.RecommendRequest(policy=gateway_pb2.Policy(stages=gateway_pb2.STAGES_FIRST))
    explained = await client.recommendations.Explain(gateway_pb2.ExplainRequest(request=first, item_id="item-3"))
    assert (explained.rank, explained.HasField("ranking")) == (4, False)
    assert explained.item.reasons


async def test_an_explanation_needs_ranking(client: GatewayClient, backends: Backends):
    """If ranking fails, the call is UNAVAILABLE and says why."""
    backends.ranking.status = grpc.StatusCode.INTERNAL
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await client.recommendations.Explain(gateway_pb2.ExplainRequest(item_id="item-3"), timeout=10)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "cannot be explained" in str(failed.value.details())


async def test_the_long_tail_has_its_minimum_share(client: GatewayClient):
    """Missing long-tail items replace others; each has the id of the replaced item and a reason."""
    policy = gateway_pb2.Policy(min_long_tail_share=0.3)
    response = await client.recommend(limit=5, policy=policy, explain=True)
    assert [item.item_id for item in response.items] == ["item-39", "item-38", "item-37", "item-9", "item-8"]
    assert [item.long_tail for item in response.items] == [False] * 3 + [True] * 2
    assert [item.replaced_item_id for item in response.items] == ["", "", "", "item-35", "item-36"]
    assert response.long_tail_share == pytest.approx(0.4)
    assert response.items[3].reasons[0].kind == gateway_pb2.REASON_KIND_LONG_TAIL_SHARE
    assert response.items[3].reasons[0].text.endswith("it replaces “title 35”")


async def test_the_servers_share_is_the_default(gateway_settings: MakeSettings):
    """The setting applies to every request that does not set a share."""
    async with running_gateway(gateway_settings(min_long_tail_share=0.5)) as client:
        assert (await client.recommend(limit=4)).long_tail_share == pytest.approx(0.5)
        none = await client.recommend(limit=4, policy=gateway_pb2.Policy(min_long_tail_share=0.0))
        nothing = await client.recommend(limit=4, policy=gateway_pb2.Policy(min_probability=1.0))
    assert (none.HasField("long_tail_share"), none.long_tail_share) == (True, 0.0)
    assert not nothing.HasField("long_tail_share")


async def test_items_differ_as_much_as_the_request_asks(client: GatewayClient):
    """Items of one brand have one vector: a diversity takes one of each brand, and keeps the order."""
    plain = await client.recommend(limit=4)
    policy = gateway_pb2.Policy(diversity=0.5, max_per_category=1)
    diverse = await client.recommend(limit=4, policy=gateway_pb2.Policy(diversity=0.5))
    assert [item.item_id for item in plain.items] == ["item-39", "item-38", "item-37", "item-36"]
    assert len({item.brand for item in diverse.items}) == 4
    assert diverse.intra_list_diversity == pytest.approx(1.0)
    assert not plain.HasField("intra_list_diversity")
    assert len((await client.recommend(limit=4, policy=policy)).items) == 2
    most = await client.recommend(limit=8, policy=gateway_pb2.Policy(diversity=1.0, min_probability=0.5))
    assert sorted(Counter(item.brand for item in most.items).values()) == [2, 2, 2, 2]
    assert [item.probability for item in most.items] == sorted((i.probability for i in most.items), reverse=True)


async def test_the_servers_diversity_is_the_default(gateway_settings: MakeSettings, backends: Backends):
    """The setting applies to requests that do not say; without a diversity no vectors are asked for."""
    async with running_gateway(gateway_settings(diversity=0.3)) as client:
        assert (await client.recommend(limit=8)).HasField("intra_list_diversity")
        assert backends.retrieval.requests[-1].vectors
        off = await client.recommend(limit=8, policy=gateway_pb2.Policy(diversity=0.0))
        assert not off.HasField("intra_list_diversity")
        assert not backends.retrieval.requests[-1].vectors
        assert "shortlist_gateway_intra_list_diversity_count 1.0" in await client.metrics()


async def test_new_items_have_their_minimum_share(client: GatewayClient):
    """New items replace others at the least cost, and stay if the long tail has a share too."""
    policy = gateway_pb2.Policy(min_new_item_share=0.2, min_long_tail_share=0.4)
    response = await client.recommend(limit=5, policy=policy, explain=True)
    assert [item.item_id for item in response.items] == ["item-39", "item-38", "item-37", "item-9", "item-3"]
    assert [item.new_item for item in response.items] == [False] * 4 + [True]
    assert (response.new_item_share, response.long_tail_share) == (pytest.approx(0.2), pytest.approx(0.4))
    assert response.items[4].reasons[0].kind == gateway_pb2.REASON_KIND_NEW_ITEM_SHARE
    text = await client.metrics()
    assert "shortlist_gateway_new_item_substitutions_total 1.0" in text
    assert "shortlist_gateway_long_tail_substitutions_total 1.0" in text


async def test_recorded_events_are_the_history(backends: Backends, client: GatewayClient):
    """The recorded events of a user reach both stages, before the request's own history."""
    earlier = _event("2", item_id="item-1", occurred_at=Timestamp(seconds=1))
    response = await client.record_events(_event("1", item_id="item-2"), earlier, earlier)
    assert (response.recorded, response.duplicates) == (2, 1)
    recommended = await client.recommend(user_id="ann", history_item_ids=["new"])
    expected = ["item-1", "item-2", "new"]
    assert list(backends.retrieval.requests[-1].history_item_ids) == expected
    assert list(backends.ranking.requests[-1].user.history_item_ids) == expected
    assert recommended.ignored_history_items == 1
    assert recommended.timings.profile_ms > 0


async def test_both_stages_use_the_repaired_query(backends: Backends, client: GatewayClient):
    """Ranking reads the query that retrieval searched for, and the answer tells it; `keep_query` is passed on."""
    recommended = await client.recommend(query="mlik")
    assert (recommended.corrected_query, backends.ranking.requests[-1].user.query) == ("milk", "milk")
    kept = await client.recommend(query="mlik", keep_query=True)
    assert (kept.corrected_query, backends.ranking.requests[-1].user.query) == ("", "mlik")
    assert (await client.recommend(query="milk")).corrected_query == ""


async def test_a_recent_search_is_the_query(backends: Backends, client: GatewayClient):
    """A recently recorded search is the query of a request without one."""
    await client.record_events(_event("1", gateway_pb2.EVENT_KIND_SEARCH, item_id="", query="tea"))
    await client.recommend(user_id="ann")
    assert backends.retrieval.requests[-1].query == backends.ranking.requests[-1].user.query == "tea"


async def test_a_user_is_forgotten(backends: Backends, client: GatewayClient):
    """After ForgetUser no event of the user reaches the stages, and a second call erases nothing."""
    await client.record_events(_event("1"), _event("2"))
    request = gateway_pb2.ForgetUserRequest(user_id="ann")
    assert (await client.recommendations.ForgetUser(request)).erased_events == 2
    assert (await client.recommendations.ForgetUser(request)).erased_events == 0
    await client.recommend(user_id="ann")
    assert not backends.retrieval.requests[-1].history_item_ids


async def test_the_policy_is_respected(client: GatewayClient):
    """Caps, blocked items and the threshold are applied."""
    policy = gateway_pb2.Policy(max_per_brand=1, blocked_item_ids=["item-39"], min_probability=0.5)
    response = await client.recommend(limit=10, policy=policy)
    assert item_ids(response) == ["item-38", "item-37", "item-36", "item-35"]


@pytest.mark.parametrize(
    ("stages", "sources"), [(gateway_pb2.STAGES_FIRST, []), (gateway_pb2.STAGES_POPULAR, ["popular"])]
)
async def test_the_first_stage_alone(backends: Backends, client: GatewayClient, stages: int, sources: list[str]):
    """Without ranking the answer has the first stage's order, from the right sources."""
    response = await client.recommend(limit=2, policy=gateway_pb2.Policy(stages=stages))  # type: ignore[arg-type]
    assert item_ids(response) == ["item-0", "item-1"]
    assert not response.items[0].HasField("probability")
    assert list(backends.retrieval.requests[-1].sources) == sources
    assert not backends.ranking.requests


async def test_the_request_id_is_passed_on(backends: Backends, client: GatewayClient):
    """The caller's request id reaches both services and the answer."""
    call = client.recommendations.Recommend(gateway_pb2.RecommendRequest(), metadata=(("x-request-id", "call-9"),))
    assert (await call).request_id == "call-9"
    assert backends.retrieval.metadata[-1]["x-request-id"] == "call-9"
    assert backends.ranking.metadata[-1]["x-request-id"] == "call-9"


async def test_ranking_uses_retrievals_release(backends: Backends, client: GatewayClient):
    """Candidates are ranked by the release that they came from."""
    backends.retrieval.release_id = "r0"
    response = await client.recommend()
    assert backends.ranking.requests[-1].release_id == "r0"
    assert response.release_id == "r0"
