"""The gateway as a server, with stand-ins behind it and a real client before it."""

from __future__ import annotations

import asyncio
import sqlite3
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from shortlist.ranking.v1 import ranking_pb2
from shortlist.release.v1 import release_pb2, release_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import NotReady
from common.server.server import running
from common.server.telemetry import Metrics
from services.gateway.profiles.sqlite_schema import BadProfileStore
from services.gateway.server.server import GatewayServer
from services.gateway.settings import Settings


class _Client:
    """A caller of a gateway."""

    def __init__(self, channel: grpc.aio.Channel, metrics_port: int) -> None:
        self.recommendations: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        self.releases: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        self._metrics_port = metrics_port

    async def recommend(self, timeout_s: float = 5.0, **fields: Any) -> gateway_pb2.RecommendResponse:
        request = gateway_pb2.RecommendRequest(**fields)
        response: gateway_pb2.RecommendResponse = await self.recommendations.Recommend(request, timeout=timeout_s)
        return response

    async def record(self, *events: gateway_pb2.Event) -> gateway_pb2.RecordEventsResponse:
        request = gateway_pb2.RecordEventsRequest(events=events)
        response: gateway_pb2.RecordEventsResponse = await self.recommendations.RecordEvents(request)
        return response

    async def metrics(self) -> str:
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        return await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())


def _settings(backends: Any, folder: Path, **changed: Any) -> Settings:
    given = {
        "port": 0,
        "metrics_port": 0,
        "retrieval_target": backends.retrieval_target,
        "ranking_target": backends.ranking_target,
        "profiles": folder / "profiles.db",
        "default_timeout_s": 1.5,
        **changed,
    }
    return Settings(**given)


@asynccontextmanager
async def _gateway(settings: Settings) -> AsyncIterator[_Client]:
    metrics = Metrics("gateway")
    async with (
        running(GatewayServer(settings, metrics), settings, metrics) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield _Client(channel, server.metrics_port)


@pytest.fixture
async def client(backends: Any, tmp_path: Path) -> AsyncIterator[_Client]:
    """Return a caller of a gateway that is serving."""
    async with _gateway(_settings(backends, tmp_path)) as caller:
        yield caller


def _event(event_id: str, kind: int = gateway_pb2.EVENT_KIND_PURCHASE, **fields: Any) -> gateway_pb2.Event:
    given = {"user_id": "ann", "item_id": "item-3", **fields}
    return gateway_pb2.Event(event_id=event_id, kind=kind, **given)  # type: ignore[arg-type]  # an enum's number


def _ids(response: gateway_pb2.RecommendResponse) -> list[str]:
    return [item.item_id for item in response.items]


def _kinds(response: gateway_pb2.RecommendResponse) -> list[str]:
    prefix = "DEGRADATION_KIND_"
    return [gateway_pb2.DegradationKind.Name(it.kind).removeprefix(prefix) for it in response.degradations]


async def test_a_full_answer(client: _Client):
    """Items come best first with probability, scores, ranks and attributes; reasons are left out unless asked for."""
    response = await client.recommend(limit=2)
    assert _ids(response) == ["item-39", "item-38"]
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


async def test_ten_items_are_the_default(client: _Client):
    """A limit left unset is ten."""
    assert len((await client.recommend()).items) == 10


async def test_reasons_come_when_asked_for(client: _Client):
    """With explain an item carries what each source said and why it is there."""
    response = await client.recommend(limit=1, explain=True, history_item_ids=["item-39", "item-39"])
    (item,) = response.items
    assert [said.source for said in item.sources] == ["behaviour", "popular"]
    assert item.reasons[0].kind == gateway_pb2.REASON_KIND_IN_HISTORY
    assert item.reasons[0].text == "bought or looked at twice before"
    assert [reason.kind for reason in item.reasons[1:]] == [
        gateway_pb2.REASON_KIND_POPULAR,
        gateway_pb2.REASON_KIND_BEHAVIOUR,
    ]


async def test_the_tail_has_its_share(client: _Client):
    """Too few of the tail: as many as are missing come in, each names the likelier item that gave way, and why."""
    policy = gateway_pb2.Policy(min_long_tail_share=0.3)
    response = await client.recommend(limit=5, policy=policy, explain=True)
    assert [item.item_id for item in response.items] == ["item-39", "item-38", "item-37", "item-9", "item-8"]
    assert [item.long_tail for item in response.items] == [False] * 3 + [True] * 2
    assert [item.replaced_item_id for item in response.items] == ["", "", "", "item-35", "item-36"]
    assert response.long_tail_share == pytest.approx(0.4)
    assert response.items[3].reasons[0].kind == gateway_pb2.REASON_KIND_LONG_TAIL_SHARE
    assert response.items[3].reasons[0].text.endswith("“title 35” gave way")
    text = await client.metrics()
    assert "shortlist_gateway_long_tail_items_total 2.0" in text
    assert "shortlist_gateway_long_tail_substitutions_total 2.0" in text
    assert "shortlist_gateway_long_tail_share 0.4" in text


async def test_the_servers_share_holds_where_the_request_has_none(backends: Any, tmp_path: Path):
    """The setting steers every answer but those whose request says otherwise."""
    async with _gateway(_settings(backends, tmp_path, min_long_tail_share=0.5)) as client:
        assert (await client.recommend(limit=4)).long_tail_share == pytest.approx(0.5)
        none = await client.recommend(limit=4, policy=gateway_pb2.Policy(min_long_tail_share=0.0))
        nothing = await client.recommend(limit=4, policy=gateway_pb2.Policy(min_probability=1.0))
    assert (none.HasField("long_tail_share"), none.long_tail_share) == (True, 0.0)
    assert not nothing.HasField("long_tail_share")


async def test_recorded_events_are_the_history(backends: Any, client: _Client):
    """What was recorded of a user reaches both stages, before the request's own history."""
    earlier = _event("2", item_id="item-1", occurred_at=Timestamp(seconds=1))
    response = await client.record(_event("1", item_id="item-2"), earlier, earlier)
    assert (response.recorded, response.duplicates) == (2, 1)
    recommended = await client.recommend(user_id="ann", history_item_ids=["new"])
    expected = ["item-1", "item-2", "new"]
    assert list(backends.retrieval.requests[-1].history_item_ids) == expected
    assert list(backends.ranking.requests[-1].user.history_item_ids) == expected
    assert recommended.ignored_history_items == 1
    assert recommended.timings.profile_ms > 0


async def test_a_recent_search_is_the_query(backends: Any, client: _Client):
    """A search just recorded stands in for a query."""
    await client.record(_event("1", gateway_pb2.EVENT_KIND_SEARCH, item_id="", query="tea"))
    await client.recommend(user_id="ann")
    assert backends.retrieval.requests[-1].query == backends.ranking.requests[-1].user.query == "tea"


async def test_a_user_is_forgotten(backends: Any, client: _Client):
    """After forgetting nothing of the user reaches the stages, and asking again erases nothing more."""
    await client.record(_event("1"), _event("2"))
    request = gateway_pb2.ForgetUserRequest(user_id="ann")
    assert (await client.recommendations.ForgetUser(request)).erased_events == 2
    assert (await client.recommendations.ForgetUser(request)).erased_events == 0
    await client.recommend(user_id="ann")
    assert not backends.retrieval.requests[-1].history_item_ids


async def test_the_policy_is_respected(client: _Client):
    """Caps, blocked items and the threshold shape the answer."""
    policy = gateway_pb2.Policy(max_per_brand=1, blocked_item_ids=["item-39"], min_probability=0.5)
    response = await client.recommend(limit=10, policy=policy)
    assert _ids(response) == ["item-38", "item-37", "item-36", "item-35"]


@pytest.mark.parametrize(
    ("stages", "sources"), [(gateway_pb2.STAGES_FIRST, []), (gateway_pb2.STAGES_POPULAR, ["popular"])]
)
async def test_the_first_stage_alone(backends: Any, client: _Client, stages: int, sources: list[str]):
    """Stages that leave ranking out give the first stage's order, from the sources meant."""
    response = await client.recommend(limit=2, policy=gateway_pb2.Policy(stages=stages))  # type: ignore[arg-type]
    assert _ids(response) == ["item-0", "item-1"]
    assert not response.items[0].HasField("probability")
    assert list(backends.retrieval.requests[-1].sources) == sources
    assert not backends.ranking.requests


async def test_the_calls_id_goes_all_the_way(backends: Any, client: _Client):
    """The caller's request id reaches both services and comes back."""
    call = client.recommendations.Recommend(gateway_pb2.RecommendRequest(), metadata=(("x-request-id", "call-9"),))
    assert (await call).request_id == "call-9"
    assert backends.retrieval.metadata[-1]["x-request-id"] == "call-9"
    assert backends.ranking.metadata[-1]["x-request-id"] == "call-9"


async def test_ranking_is_asked_for_retrievals_release(backends: Any, client: _Client):
    """The release that found the candidates ranks them, whatever ranking serves by now."""
    backends.retrieval.release_id = "r0"
    response = await client.recommend()
    assert backends.ranking.requests[-1].release_id == "r0"
    assert response.release_id == "r0"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.INTERNAL, "RANKING_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "RANKING_TOO_SLOW"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RANKING_OVERLOADED"),
    ],
)
async def test_failures_of_ranking_are_named(backends: Any, client: _Client, status: grpc.StatusCode, kind: str):
    """A failed ranker is a degradation of its kind in the answer and in the metrics."""
    backends.ranking.status = status
    response = await client.recommend(limit=1)
    assert _kinds(response) == [kind]
    assert _ids(response) == ["item-0"]
    assert f'shortlist_gateway_degradations_total{{kind="{kind}"}} 1.0' in await client.metrics()


async def test_a_slow_ranker_is_not_waited_for(backends: Any, client: _Client):
    """A ranker that takes its time costs the caller an order, not the answer."""
    backends.ranking.delay_s = 30.0
    response = await client.recommend(timeout_s=3.0)
    assert _kinds(response) == ["RANKING_TOO_SLOW"]
    assert len(response.items) == 10


async def test_a_slow_retrieval_leaves_time_for_ranking(backends: Any, client: _Client):
    """Retrieval may spend its share alone: popular items are ranked in what is left."""
    backends.retrieval.delay_s = 30.0
    response = await client.recommend(timeout_s=3.0)
    assert _kinds(response) == ["RETRIEVAL_UNAVAILABLE"]
    assert response.items[0].HasField("probability")


async def test_a_filter_on_an_unknown_attribute_is_the_callers_mistake(client: _Client):
    """What retrieval says of the caller's filter reaches the caller."""
    unknown = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="colour", values=["red"]))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.recommend(filter=unknown)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "filter.match.attribute: unknown colour"


async def test_the_gateways_own_mistake_is_internal(backends: Any, client: _Client):
    """A refusal from behind that the caller did not cause is an internal error without detail."""
    backends.retrieval.status = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await client.recommend()
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert failed.value.details() == "internal error"


_BAD_CALLS: list[tuple[str, Any, str]] = [
    ("Recommend", gateway_pb2.RecommendRequest(limit=0), "limit: "),
    ("RecordEvents", gateway_pb2.RecordEventsRequest(), "events: "),
    ("ForgetUser", gateway_pb2.ForgetUserRequest(), "user_id: "),
]


@pytest.mark.parametrize(("method", "request_refused", "field"), _BAD_CALLS)
async def test_bad_requests_are_refused(client: _Client, method: str, request_refused: Any, field: str):
    """A request against the contract is INVALID_ARGUMENT with the field's name."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(client.recommendations, method)(request_refused)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (refused.value.details() or "").startswith(field)


async def test_releases_are_told_and_changed(backends: Any, client: _Client):
    """The gateway tells of both services' release and changes it, and then looks at what is popular anew."""
    backends.retrieval.called.clear()
    activated = await client.releases.ActivateRelease(release_pb2.ActivateReleaseRequest(location="/releases/r2"))
    assert (activated.release.release_id, activated.previous_release_id) == ("r2", "r1")
    assert (await client.releases.GetRelease(release_pb2.GetReleaseRequest())).release.release_id == "r2"
    await asyncio.wait_for(backends.retrieval.called.wait(), 10)
    assert list(backends.retrieval.requests[-1].sources) == ["popular"]


@pytest.mark.parametrize(
    ("location", "status", "said"),
    [
        (" ", grpc.StatusCode.INVALID_ARGUMENT, "location: "),
        ("/releases/bad", grpc.StatusCode.FAILED_PRECONDITION, "ranking: release bad is damaged"),
    ],
)
async def test_bad_releases_are_refused(
    backends: Any, client: _Client, location: str, status: grpc.StatusCode, said: str
):
    """A location that is missing or bad comes back with its status and message."""
    backends.ranking_releases.bad = {"bad"}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.releases.ActivateRelease(release_pb2.ActivateReleaseRequest(location=location))
    assert refused.value.code() is status
    assert (refused.value.details() or "").startswith(said)


async def test_what_happens_is_counted(client: _Client):
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


async def test_a_broken_profile_store_is_named(backends: Any, tmp_path: Path):
    """Where the profiles cannot be read the answer stands on the request alone; recording is UNAVAILABLE."""
    async with _gateway(_settings(backends, tmp_path)) as client:
        _drop_events(tmp_path / "profiles.db")
        response = await client.recommend(user_id="ann", history_item_ids=["mine"])
        assert _kinds(response) == ["PROFILE_UNAVAILABLE"]
        assert list(backends.ranking.requests[-1].user.history_item_ids) == ["mine"]
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await client.record(_event("1"))
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_bad_file_of_profiles_stops_the_start(backends: Any, tmp_path: Path):
    """A gateway whose profiles cannot be used does not begin to serve."""
    (tmp_path / "profiles.db").write_bytes(b"no database" * 100)
    with pytest.raises(BadProfileStore):
        async with _gateway(_settings(backends, tmp_path)):
            pass


async def test_nothing_is_answered_before_the_start(backends: Any, tmp_path: Path):
    """Calls that come too early are told to come again."""
    server = GatewayServer(_settings(backends, tmp_path), Metrics("gateway"))
    with pytest.raises(NotReady, match="starting"):
        server._started()


def _drop_events(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("DROP TABLE events")
    connection.close()
