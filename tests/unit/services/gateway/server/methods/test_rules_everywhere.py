"""Blocks and requirements of RuleService in every answer that names items, over fake services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2, rules_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient, item_ids, running_gateway

MakeSettings = Callable[..., Settings]
_FROM_30 = retrieval_pb2.Filter(range=retrieval_pb2.Range(attribute="price", min=30))
_RULES = (
    rules_pb2.Rule(
        rule_id="no-brand-0",
        kind=rules_pb2.RULE_KIND_BLOCK,
        items=rules_pb2.ItemSelection(brands=["BRAND-0"]),
    ),
    rules_pb2.Rule(
        rule_id="margin",
        kind=rules_pb2.RULE_KIND_REQUIRE,
        items=rules_pb2.ItemSelection(where=_FROM_30),
    ),
)
# Of the 40 items, those at 30 or more without brand-0.
_ALLOWED = {f"item-{number}" for number in range(30, 40) if number % 4}
_EXPERIMENT = """
[[experiment]]
name = "e"
[[experiment.variant]]
name = "control"
[[experiment.variant]]
name = "b"
weight = 1e9
ranking_target = "{target}"
"""


@pytest.fixture
async def ranking_of_variant() -> AsyncIterator[str]:
    """Return the address of another ranking service."""
    others = Backends()
    await others.start()
    yield others.ranking_target
    await others.stop()


async def _put(client: GatewayClient, *rules: rules_pb2.Rule) -> None:
    await client.rules.PutRules(rules_pb2.PutRulesRequest(rules=rules))


async def _similar(client: GatewayClient, **fields: Any) -> gateway_pb2.SimilarItemsResponse:
    request = gateway_pb2.SimilarItemsRequest(item_id="item-1", limit=40, **fields)
    response: gateway_pb2.SimilarItemsResponse = await client.recommendations.SimilarItems(request, timeout=10)
    return response


async def _related(client: GatewayClient, **fields: Any) -> gateway_pb2.RelatedToCartResponse:
    request = gateway_pb2.RelatedToCartRequest(item_ids=["item-1"], limit=40, **fields)
    response: gateway_pb2.RelatedToCartResponse = await client.recommendations.RelatedToCart(request, timeout=10)
    return response


async def test_rules_hold_in_a_variant_with_services_of_its_own(
    gateway_settings: MakeSettings, ranking_of_variant: str, tmp_path: Path
):
    """The recommender of a variant applies the shop's rules as the main one does."""
    file = tmp_path / "experiments.toml"
    file.write_text(_EXPERIMENT.format(target=ranking_of_variant))
    async with running_gateway(gateway_settings(experiments=file)) as client:
        await _put(client, *_RULES)
        answer = await client.recommend(user_id="ann", limit=40)
    assert [each.variant for each in answer.variants] == ["b"]
    assert set(item_ids(answer)) == _ALLOWED
    assert answer.rules_version == 1


async def test_rules_hold_in_a_batch(client: GatewayClient):
    """Each answer of BatchRecommend obeys them."""
    await _put(client, *_RULES)
    request = gateway_pb2.RecommendRequest(user_id="ann", limit=40)
    messages = [gateway_pb2.BatchRecommendRequest(id=name, request=request) for name in ("a", "b")]
    answers = [answer async for answer in client.recommendations.BatchRecommend(iter(messages), timeout=10)]
    assert len(answers) == 2
    for answer in answers:
        assert set(item_ids(answer.response)) == _ALLOWED


async def test_rules_hold_for_the_next_items(client: GatewayClient):
    """A caller that blocks what it has shown gets the next items, again without a blocked one and without the pin."""
    pin = rules_pb2.Rule(
        rule_id="pin",
        kind=rules_pb2.RULE_KIND_PIN,
        slot=1,
        items=rules_pb2.ItemSelection(item_ids=["item-31"]),
    )
    await _put(client, *_RULES, pin)
    first = item_ids(await client.recommend(limit=4))
    second = item_ids(await client.recommend(limit=4, policy=gateway_pb2.Policy(blocked_item_ids=first)))
    assert first[0] == "item-31"
    assert not set(first) & set(second)
    assert {*first, *second} == _ALLOWED


@pytest.mark.parametrize("ask", [_similar, _related])
async def test_rules_hold_near_items_and_carts(client: GatewayClient, ask: Callable[..., Any]):
    """What is blocked or lacks what is required is left out; answer and metrics say so."""
    before = {item.item_id for item in (await ask(client)).items}
    assert before == {f"item-{number}" for number in range(40)} - {"item-1"}
    await _put(client, *_RULES)
    answer = await ask(client, explain=True)
    assert {item.item_id for item in answer.items} == _ALLOWED
    assert (answer.rules_version, list(answer.degradations)) == (1, [])
    assert {step.item_id for step in answer.policy_steps} == before - _ALLOWED
    assert not (await ask(client)).policy_steps
    metrics = await client.metrics()
    assert 'shortlist_gateway_rule_effects_total{effect="REMOVED",kind="BLOCK"} 20.0' in metrics


@pytest.mark.parametrize("ask", [_similar, _related])
async def test_rules_near_items_are_for_their_countries_and_placements(client: GatewayClient, ask: Callable[..., Any]):
    """A rule for some countries and placements holds for requests with them only."""
    rule = rules_pb2.Rule(countries=["DE"], placements=["product"])
    rule.MergeFrom(_RULES[0])
    await _put(client, rule)
    blocked = [item.brand for item in (await ask(client, country="DE", placement="product")).items]
    assert blocked
    assert "brand-0" not in blocked
    assert "brand-0" in [item.brand for item in (await ask(client, country="AT", placement="product")).items]
    assert "brand-0" in [item.brand for item in (await ask(client, country="DE")).items]
    with pytest.raises(grpc.aio.AioRpcError, match="country: 'de' is not a code"):
        await ask(client, country="de")


@pytest.mark.parametrize("ask", [_similar, _related])
async def test_a_rule_near_items_whose_attribute_is_gone_is_said(
    client: GatewayClient, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Any]
):
    """The other rules hold, and the answer is degraded."""
    await _put(client, *_RULES)
    monkeypatch.setattr("testing.backends.planted_items.ATTRIBUTES", {"brand"})
    answer = await ask(client)
    brands = {item.brand for item in answer.items}
    assert brands == {"brand-1", "brand-2", "brand-3"}
    (degradation,) = answer.degradations
    assert degradation.kind == gateway_pb2.DEGRADATION_KIND_RULES_NOT_APPLIED
    assert degradation.detail == "rule 'margin' is not applied: no attribute 'price'"
    assert 'shortlist_gateway_degradations_total{kind="RULES_NOT_APPLIED"} 1.0' in await client.metrics()


async def test_requirements_hold_for_popular_items(backends: Backends, client: GatewayClient):
    """While retrieval does not answer, popular items obey both rules."""
    await _put(client, *_RULES)
    backends.retrieval.status = grpc.StatusCode.UNAVAILABLE
    assert set(item_ids(await client.recommend(limit=40))) == _ALLOWED
