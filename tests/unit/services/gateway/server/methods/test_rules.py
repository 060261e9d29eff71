"""RuleService and what its rules change, over fake services; Redis shared by two gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from shortlist.gateway.v1 import gateway_pb2, rules_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient, item_ids, running_gateway
from testing.redis_server import RedisServer

MakeSettings = Callable[..., Settings]
_LATER = Timestamp(seconds=4_000_000_000)


def _rule(rule_id: str, kind: str, where: retrieval_pb2.Filter | None = None, **fields: Any) -> rules_pb2.Rule:
    """Return a rule; lists of items go to its selection."""
    names = ("item_ids", "brands", "categories", "words")
    selected = {name: fields.pop(name) for name in names if name in fields}
    items = rules_pb2.ItemSelection(where=where, **selected) if selected or where else None
    return rules_pb2.Rule(rule_id=rule_id, kind=f"RULE_KIND_{kind}", items=items, **fields)  # type: ignore[arg-type]  # protobuf takes names


async def _put(client: GatewayClient, *rules: rules_pb2.Rule, if_version: int | None = None) -> int:
    answer = await client.rules.PutRules(rules_pb2.PutRulesRequest(rules=rules, if_version=if_version))
    return int(answer.version)


_CHEAP = retrieval_pb2.Filter(range=retrieval_pb2.Range(attribute="price", min=30))
_BRAND = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="brand", values=["brand-1"]))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (_rule("r", "BLOCK", item_ids=["item-39"]), ["item-38", "item-37", "item-36"]),
        (_rule("r", "BLOCK", words=["Title 38"]), ["item-39", "item-37", "item-36"]),
        (_rule("r", "BLOCK", _CHEAP), ["item-29", "item-28", "item-27"]),
        (_rule("r", "REQUIRE", brands=["BRAND-1"]), ["item-37", "item-33", "item-29"]),
        (_rule("r", "REQUIRE", _BRAND), ["item-37", "item-33", "item-29"]),
        (_rule("r", "PIN", item_ids=["item-0"], slot=2), ["item-39", "item-0", "item-38"]),
        (_rule("r", "BOOST", item_ids=["item-39"], factor=0.1), ["item-38", "item-37", "item-36"]),
        (_rule("r", "THRESHOLD", min_probability=0.94), ["item-39", "item-38"]),
        (
            _rule("r", "CAMPAIGN", categories=["category-0"], slot=1, starts_at=Timestamp(seconds=1), ends_at=_LATER),
            ["item-38", "item-39", "item-37"],
        ),
    ],
)
async def test_each_kind_of_rule_changes_the_next_answer(
    client: GatewayClient, rule: rules_pb2.Rule, expected: list[str]
):
    """As soon as the rule is put, the answer follows it; once it is deleted, the answer is the old one."""
    plain = item_ids(await client.recommend(limit=3))
    version = await _put(client, rule)
    answer = await client.recommend(limit=3)
    assert (item_ids(answer), answer.rules_version) == (expected, version)
    deleted = await client.rules.DeleteRules(rules_pb2.DeleteRulesRequest(rule_ids=["r", "unknown"]))
    assert (deleted.deleted, deleted.version) == (1, version + 1)
    assert item_ids(await client.recommend(limit=3)) == plain == ["item-39", "item-38", "item-37"]


async def test_effects_are_told_and_counted(client: GatewayClient):
    """With `explain` each step is in the answer; counters have the kind of rule and the effect."""
    await _put(
        client,
        _rule("no-39", "BLOCK", item_ids=["item-39"]),
        _rule("up", "BOOST", item_ids=["item-30"], factor=10),
        _rule("first", "PIN", item_ids=["item-1"], slot=1),
    )
    assert not (await client.recommend(limit=2)).policy_steps
    answer = await client.recommend(limit=2, explain=True)
    told = [(step.rule_id, gateway_pb2.PolicyEffect.Name(step.effect), step.item_id) for step in answer.policy_steps]
    assert told == [
        ("no-39", "POLICY_EFFECT_REMOVED", "item-39"),
        ("up", "POLICY_EFFECT_LIFTED", "item-30"),
        ("first", "POLICY_EFFECT_DISPLACED", "item-38"),
        ("first", "POLICY_EFFECT_PLACED", "item-1"),
    ]
    metrics = await client.metrics()
    assert 'shortlist_gateway_rule_effects_total{effect="REMOVED",kind="BLOCK"} 2.0' in metrics
    assert "shortlist_gateway_rules 3.0" in metrics


async def test_rules_are_for_their_countries_and_placements(client: GatewayClient):
    """A request of another country, or without one, is not changed."""
    await _put(client, _rule("r", "BLOCK", item_ids=["item-39"], countries=["DE"], placements=["home"]))
    found = [
        item_ids(await client.recommend(limit=1, country=country, placement=placement))
        for country, placement in (("DE", "home"), ("FR", "home"), ("DE", "cart"), ("", ""))
    ]
    assert found == [["item-38"], ["item-39"], ["item-39"], ["item-39"]]


async def test_what_people_buy_again_is_shown_again(client: GatewayClient):
    """Of bought items that a request leaves out, those that a rule selects come back."""
    bought = ["item-39", "item-38", "item-36"]
    policy = gateway_pb2.Policy(exclude_purchased=True)
    plain = await client.recommend(limit=2, history_item_ids=bought, policy=policy)
    await _put(client, _rule("again", "REPURCHASE", brands=["brand-3"]))
    again = await client.recommend(limit=2, history_item_ids=bought, policy=policy)
    assert (item_ids(plain), item_ids(again)) == (["item-37", "item-35"], ["item-39", "item-37"])


async def test_versions_guard_changes(client: GatewayClient):
    """A put or delete with another version than the current one changes nothing; rules are listed with theirs."""
    assert await _put(client, _rule("a", "BLOCK", brands=["x"]), if_version=0) == 1
    with pytest.raises(grpc.aio.AioRpcError, match="version 1, not 0") as failed:
        await _put(client, _rule("b", "BLOCK", brands=["x"]), if_version=0)
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.aio.AioRpcError, match="version 1, not 7"):
        await client.rules.DeleteRules(rules_pb2.DeleteRulesRequest(rule_ids=["a"], if_version=7))
    assert await _put(client, _rule("b", "BLOCK", brands=["y"]), if_version=1) == 2
    listed = await client.rules.ListRules(rules_pb2.ListRulesRequest())
    assert ([(rule.rule_id, rule.version) for rule in listed.rules], listed.version) == ([("a", 1), ("b", 2)], 2)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([rules_pb2.Rule(rule_id="a")], r"rules\[0\] 'a': kind: must be set"),
        ([_rule("a", "BLOCK", retrieval_pb2.Filter())], r"rules\[0\] 'a': items.where: has no kind"),
        (
            [_rule("a", "REQUIRE", retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="margin", values=["1"])))],
            "rule 'a': items.where: no attribute 'margin'",
        ),
        ([_rule("a", "BLOCK", brands=["x"]), _rule("a", "BLOCK", brands=["y"])], "two of them have the same rule_id"),
        ([_rule("a", "BOOST", brands=["x"], factor=20)], "rule 'a': factor: is 20"),
        ([], "rules: none given"),
    ],
)
async def test_bad_rules_change_nothing(client: GatewayClient, rules: list[rules_pb2.Rule], message: str):
    """The error names the rule and the field, and none of the rules is stored."""
    with pytest.raises(grpc.aio.AioRpcError, match=message) as failed:
        await _put(client, *rules)
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await client.rules.ListRules(rules_pb2.ListRulesRequest())).version == 0


async def test_a_rule_whose_attribute_is_gone_is_left_out_and_said(client: GatewayClient, monkeypatch: Any):
    """After a release without the attribute, the other rules hold, and the answer is degraded."""
    await _put(client, _rule("cheap", "REQUIRE", _CHEAP), _rule("no-39", "BLOCK", item_ids=["item-39"]))
    monkeypatch.setattr("testing.backends.planted_items.ATTRIBUTES", {"brand"})
    answer = await client.recommend(limit=1)
    assert item_ids(answer) == ["item-38"]
    (degradation,) = answer.degradations
    assert degradation.kind == gateway_pb2.DEGRADATION_KIND_RULES_NOT_APPLIED
    assert degradation.detail == "rule 'cheap' is not applied: no attribute 'price'"


async def test_without_retrieval_blocks_hold_for_popular_items(backends: Backends, client: GatewayClient):
    """Popular items that a filter cannot be decided for are not shown against a block."""
    unknown = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="language", values=["en"]))
    await _put(client, _rule("brand", "BLOCK", brands=["brand-0", "brand-1"]), _rule("cheap", "REQUIRE", _CHEAP))
    backends.retrieval.status = grpc.StatusCode.UNAVAILABLE
    answer = await client.recommend(limit=3)
    assert {item.brand for item in answer.items} == {"brand-2", "brand-3"}
    assert all(item.price >= 30 for item in answer.items)
    backends.retrieval.status = None
    await _put(client, _rule("language", "BLOCK", unknown))
    backends.retrieval.status = grpc.StatusCode.UNAVAILABLE
    assert not (await client.recommend(limit=3)).items


async def test_a_dry_run_changes_nothing(client: GatewayClient):
    """Given requests, or else the latest ones, are answered both ways; effects are counted by rule."""
    await _put(client, _rule("no-39", "BLOCK", item_ids=["item-39"]))
    request = rules_pb2.TryRulesRequest(
        rules=[_rule("no-38", "BLOCK", item_ids=["item-38"])],
        delete_rule_ids=["no-39"],
        requests=[gateway_pb2.RecommendRequest(limit=2), gateway_pb2.RecommendRequest(limit=1, query="tea")],
    )
    tried = await client.rules.TryRules(request)
    assert [list(one.item_ids_before) for one in tried.requests] == [["item-38", "item-37"], ["item-38"]]
    assert [list(one.item_ids_after) for one in tried.requests] == [["item-39", "item-37"], ["item-39"]]
    assert tried.changed_requests == 2
    assert [(each.rule_id, each.count) for each in tried.effects] == [("no-38", 2)]
    assert item_ids(await client.recommend(limit=1, user_id="ann")) == ["item-38"]
    request.ClearField("requests")
    assert [len(one.item_ids_after) for one in (await client.rules.TryRules(request)).requests] == [1]
    await client.recommendations.ForgetUser(gateway_pb2.ForgetUserRequest(user_id="ann"))
    assert not (await client.rules.TryRules(request)).requests
    assert (await client.rules.ListRules(rules_pb2.ListRulesRequest())).version == 1


async def test_gateways_follow_one_another(gateway_settings: MakeSettings, redis: RedisServer, tmp_path: Path):
    """A rule put through one gateway is applied by another that shares its Redis, and by one that starts later."""
    settings = gateway_settings(
        profiles=f"redis://127.0.0.1:{redis.port}/0",
        pseudonym_key_file=tmp_path / "key",
        default_timeout_s=10,
        rules_poll_s=0.05,
    )
    async with running_gateway(settings) as one, running_gateway(settings) as other:
        assert item_ids(await other.recommend(limit=1)) == ["item-39"]
        await _put(one, _rule("r", "BLOCK", item_ids=["item-39"]))
        for _ in range(1_200):  # a minute at most
            if item_ids(await other.recommend(limit=1)) == ["item-38"]:
                break
            await asyncio.sleep(0.05)
        assert item_ids(await other.recommend(limit=1)) == ["item-38"]
        async with running_gateway(settings) as later:
            assert item_ids(await later.recommend(limit=1)) == ["item-38"]


async def test_rules_survive_a_restart(gateway_settings: MakeSettings):
    """They are in the SQLite file of the profiles."""
    settings = gateway_settings()
    async with running_gateway(settings) as client:
        await _put(client, _rule("r", "BLOCK", item_ids=["item-39"]))
    async with running_gateway(settings) as client:
        assert item_ids(await client.recommend(limit=1)) == ["item-38"]
