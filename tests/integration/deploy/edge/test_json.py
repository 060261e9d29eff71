"""JSON over HTTP through Envoy: the contract's methods, and what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from shortlist.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.asyncio(loop_scope="session")
Post = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def port(fleet: Any) -> int:
    """Return the port of an Envoy with the chart's defaults."""
    envoy = await fleet.add_envoy()
    return int(envoy.port)


async def test_recommend_answers_in_json(port: int, http_call: Post):
    """Fields may be named as in the protos or in camel case; the answer names them as in the protos."""
    for name in ("history_item_ids", "historyItemIds"):
        answer = await http_call(port, "POST", "/v1/recommend", {name: ["item-1"], "limit": 2})
        assert answer.status == 200
        assert [one["item_id"] for one in answer.json["items"]] == ["item-39", "item-38"]


async def test_the_callers_request_id_comes_back(port: int, http_call: Post):
    """As it does for callers of the gateway itself."""
    answer = await http_call(port, "POST", "/v1/recommend", {}, x_request_id="mine")
    assert answer.json["request_id"] == "mine"


async def test_events_are_recorded_and_forgotten(port: int, http_call: Post):
    """Times are RFC 3339, enums are names."""
    event = {"event_id": "1", "user_id": "u", "kind": "EVENT_KIND_VIEW", "item_id": "item-1"}
    event["occurred_at"] = "2026-11-01T00:00:00Z"
    assert (await http_call(port, "POST", "/v1/events", {"events": [event]})).status == 200
    assert (await http_call(port, "POST", "/v1/users:forget", {"user_id": "u"})).status == 200


async def test_the_release_is_read_and_never_changed(port: int, http_call: Post):
    """ActivateRelease stays inside the cluster."""
    assert (await http_call(port, "GET", "/v1/release")).json["release"]["release_id"] == "r1"
    answer = await http_call(port, "POST", "/shortlist.release.v1.ReleaseService/ActivateRelease", {})
    assert answer.status == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"limt": 2}, "limt: shortlist.gateway.v1.RecommendRequest has no such field; its fields are country, explain"),
        ({"policy": {"maxPerBrand": 1, "max_per_bra": 1}}, "policy.max_per_bra: shortlist.gateway.v1.Policy has no"),
        ({"filter": {"all_of": {"filters": [{"match": {"atribute": "x"}}]}}}, "filter.all_of.filters.match.atribute"),
        (
            {"policy": {"stages": "STAGES_FRIST"}},
            "policy.stages: has no value STAGES_FRIST; its values are",
        ),
        ({"history_kinds": ["EVENT_KIND_VIEWED"]}, "history_kinds: has no value EVENT_KIND_VIEWED"),
        ({"limit": {"value": 2}}, "limit: is an object, which this field is not"),
        ([{"limit": 2}], "the body has to be a JSON object"),
        (b"{limit: 2}", "the body is no JSON at byte 2"),
        (b'{"limit": 2', "the body is no JSON at byte 12"),
        (b'{"limit": 2} {}', "the body is no JSON at byte 14"),
        (b'{"query": "a\nb"}', "the body is no JSON at byte 13"),
        (b'{"limit": +2}', "the body is no JSON at byte 11"),
        (b'{"filter":' + b'{"all_of":{"filters":[' * 40, "is nested more than 64 deep"),
    ],
)
async def test_a_typo_is_refused(port: int, http_call: Post, body: Any, message: str):
    """Envoy itself would drop an unknown field, and answer as if the caller had not set it."""
    answer = await http_call(port, "POST", "/v1/recommend", body)
    assert (answer.status, answer.json["code"]) == (400, 3)
    assert message in answer.json["message"]


async def test_a_query_string_is_refused(port: int, http_call: Post):
    """A field of the query string would be dropped where there is a body."""
    answer = await http_call(port, "POST", "/v1/recommend?limit=3", {"limit": 2})
    assert (answer.status, "the path has a query" in answer.json["message"]) == (400, True)


@pytest.mark.parametrize(
    "path", ["/v1/%72ecommend", "/v1//recommend", "/v1/recommend/", "/v1/recommend%2F", "/v1/x/../recommend"]
)
async def test_another_spelling_of_the_path_is_no_way_around(port: int, http_call: Post, path: str):
    """A typo is refused however the path is written."""
    assert (await http_call(port, "POST", path, {"limt": 2})).status in {400, 404}


async def test_every_field_of_the_request_is_accepted(port: int, http_call: Post):
    """Strings with escapes, numbers with exponents, nulls and empty lists among them."""
    body = {
        "user_id": 'a "quoted" \\ ünï \u2028',
        "query": "",
        "history_item_ids": ["item-1", "item-2"],
        "filter": {"none_of": {"filters": [{"range": {"attribute": "price", "min": -0.5e-3, "max": 1e1}}]}},
        "limit": 3,
        "policy": {"min_probability": 0.0, "blocked_item_ids": [], "exclude_history": True, "stages": "STAGES_BOTH"},
        "explain": False,
        "history_kinds": ["EVENT_KIND_VIEW", "EVENT_KIND_CART"],
        "history_ages_s": [1.5, "NaN"],
        "keep_query": True,
        "country": "DE",
        "language": "zh",
        "priority": "PRIORITY_BATCH",
        "placement": "home",
    }
    assert set(body) == {field.name for field in gateway_pb2.RecommendRequest.DESCRIPTOR.fields}
    answer = await http_call(port, "POST", "/v1/recommend", body)
    assert answer.status == 200
    assert (await http_call(port, "POST", "/v1/recommend", {"policy": None})).status == 200


async def test_a_refusal_of_the_gateway_is_json(port: int, http_call: Post):
    """With the message that callers by gRPC see."""
    answer = await http_call(port, "POST", "/v1/recommend", {"limit": 0})
    assert (answer.status, answer.json["code"]) == (400, 3)
    assert "limit: must be 1 to 500" in answer.json["message"]


async def test_metrics_are_given_and_nothing_is_taken(fleet: Any):
    """The internal port has readiness and metrics; Envoy's own administration is out of reach."""
    envoy = next(iter(fleet.envoys))
    assert [await envoy.get(path) for path in ("/live", "/ready", "/metrics", "/quitquitquit")] == [200, 200, 200, 404]
