"""The log of impressions of a running gateway: what is shown, and what followed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2, rules_pb2

from common.release.event_weights import EventKind
from services.gateway.impressions.impression_log import ImpressionLog
from services.gateway.impressions.log_files import PATTERN, LogLimits
from services.gateway.impressions.records import RecordedEvent
from services.gateway.profiles.profile_store import Event
from services.gateway.profiles.pseudonyms import Pseudonyms, read_key
from services.gateway.server.service import RecommendationService
from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient, item_ids, running_gateway

MakeSettings = Callable[..., Settings]


def _view(event_id: str, **fields: Any) -> gateway_pb2.Event:
    return gateway_pb2.Event(event_id=event_id, kind=gateway_pb2.EVENT_KIND_VIEW, **fields)


def _records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.rglob(PATTERN)) for line in file.read_text().splitlines()]


async def test_answers_and_events_are_written(gateway_settings: MakeSettings, tmp_path: Path):
    """An answer has its items in order, its context and the user's pseudonym; an event names its answer."""
    async with running_gateway(gateway_settings(impressions_log=tmp_path / "log")) as client:
        answer = await client.recommend(user_id="ann", query="milk", limit=3, placement="home", history_item_ids=["x"])
        event = _view("e1", user_id="ann", item_id="item-38", request_id=answer.request_id)
        await client.record_events(event)
        assert "shortlist_gateway_impression_log_records_total" in await client.metrics()
    shown, viewed = _records(tmp_path / "log")
    pseudonyms = read_key(tmp_path / "profiles.db.key")
    assert (shown["type"], viewed["type"]) == ("impression", "event")
    assert shown["user"] == viewed["user"] == pseudonyms.of_user("ann")
    assert shown["items"] == ["item-39", "item-38", "item-37"]
    assert shown["scores"][0] == pytest.approx(40 / 41, abs=1e-5)
    assert (shown["query"], shown["history"], shown["occasion"]) == ("milk", ["x"], "both")
    assert (shown["placement"], shown["release"], shown["propensities"]) == ("home", "r1", [])
    assert shown["request_id"] == viewed["request_id"] == answer.request_id
    assert (viewed["kind"], viewed["item"]) == ("view", "item-38")
    assert viewed["event"] == pseudonyms.of_event("e1")
    assert shown["at_us"] > 1_700_000_000_000_000


async def test_random_positions_have_their_probability(gateway_settings: MakeSettings, tmp_path: Path):
    """With a share, the answer and the log have the probability of each item, and the log has the pool."""
    settings = gateway_settings(impressions_log=tmp_path / "log", exploration_share=1.0, exploration_candidates=5)
    async with running_gateway(settings) as client:
        answer = await client.recommend(limit=2)
    (shown,) = _records(tmp_path / "log")
    assert shown["pool"] == [f"item-{39 - place}" for place in range(5)]
    assert shown["items"] == item_ids(answer)
    assert set(shown["items"]) < set(shown["pool"])
    assert [item.propensity for item in answer.items] == pytest.approx([0.2, 0.2])
    assert shown["propensities"] == pytest.approx([0.2, 0.2])


async def test_an_item_in_a_slot_is_not_random(gateway_settings: MakeSettings, tmp_path: Path):
    """A rule shows it whatever is drawn: it has the probability 1 and is not in the pool of the others."""
    settings = gateway_settings(impressions_log=tmp_path / "log", exploration_share=1.0, exploration_candidates=5)
    items = rules_pb2.ItemSelection(item_ids=["item-38"])
    pin = rules_pb2.Rule(rule_id="first", kind=rules_pb2.RULE_KIND_PIN, items=items, slot=1)
    async with running_gateway(settings) as client:
        await client.rules.PutRules(rules_pb2.PutRulesRequest(rules=[pin]))
        answer = await client.recommend(limit=2)
    (shown,) = _records(tmp_path / "log")
    assert shown["items"] == item_ids(answer)
    assert shown["items"][0] == "item-38"
    assert shown["pool"] == ["item-39", "item-37", "item-36", "item-35", "item-34"]
    assert shown["propensities"] == pytest.approx([1.0, 0.2])


async def test_without_a_share_no_probability_is_given(client: GatewayClient):
    """An answer without random positions leaves `propensity` unset."""
    assert not any(item.HasField("propensity") for item in (await client.recommend(limit=3)).items)


async def test_a_forgotten_user_is_gone_from_the_log(gateway_settings: MakeSettings, tmp_path: Path):
    """ForgetUser erases the user's lines; those of others stay."""
    async with running_gateway(gateway_settings(impressions_log=tmp_path / "log")) as client:
        for user in ("ann", "bob"):
            await client.recommend(user_id=user)
            await client.record_events(_view(f"of-{user}", user_id=user, item_id="item-1"))
        forgotten = await client.recommendations.ForgetUser(gateway_pb2.ForgetUserRequest(user_id="ann"))
        assert forgotten.erased_events == 1
    pseudonyms = read_key(tmp_path / "profiles.db.key")
    assert {record["user"] for record in _records(tmp_path / "log")} == {pseudonyms.of_user("bob")}
    assert len(_records(tmp_path / "log")) == 2


async def test_the_log_is_off_by_default(client: GatewayClient, tmp_path: Path):
    """Without the setting nothing is written."""
    await client.recommend()
    assert not _records(tmp_path)
    assert "impression_log" not in await client.metrics()


async def test_an_answer_without_ranking_is_written_with_its_degradation(
    gateway_settings: MakeSettings, backends: Backends, tmp_path: Path
):
    """A degraded answer is logged as it was shown, and says so."""
    backends.ranking.status = grpc.StatusCode.INTERNAL
    async with running_gateway(gateway_settings(impressions_log=tmp_path / "log")) as client:
        await client.recommend(limit=1)
    (shown,) = _records(tmp_path / "log")
    assert shown["items"] == ["item-0"]
    assert shown["degradations"] == ["RANKING_UNAVAILABLE"]


async def test_what_is_shown_while_a_user_is_forgotten_is_erased_too(tmp_path: Path):
    """A call that has read the profile before it is erased logs its history."""
    log = ImpressionLog(tmp_path, Pseudonyms(bytes(32)), LogLimits())
    components = Mock(impressions=log)

    async def forget_user(user_id: str) -> int:
        log.write(RecordedEvent(Event("e", user_id, EventKind.VIEW, 1, "item-1")))
        return 3

    components.profiles.forget_user = forget_user
    service = RecommendationService(lambda: components, Mock(), 1.0, Mock(), 10, Mock())
    answer = await service.ForgetUser(gateway_pb2.ForgetUserRequest(user_id="ann"), None)
    await log.close()
    assert (answer.erased_events, log.written, _records(tmp_path)) == (3, 1, [])
