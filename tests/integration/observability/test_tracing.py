"""Traces of calls through the three servers, as a collector receives them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from shortlist.gateway.v1 import gateway_pb2

from testing.observability.trace_collector import ReceivedSpan

TIMEOUT_S = 30.0
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "shop=1"))
UNSAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-00"),)
HISTORY = ["dairy-milk-red-0", "dairy-cheese-red-0"]
REQUEST = gateway_pb2.RecommendRequest(user_id="ada-lovelace", query="red milk", history_item_ids=HISTORY, limit=5)
INTERNAL, SERVER, CLIENT = 1, 2, 3
DEPTH = 10  # of the tiny release
Traced = Callable[..., AbstractAsyncContextManager[Any]]


def named(spans: list[ReceivedSpan], service: str, name: str) -> ReceivedSpan:
    """Return the one span of a service with a name, or with a name that ends so."""
    (found,) = (each for each in spans if each.service == f"shortlist-{service}" and each.name.endswith(name))
    return found


@dataclass(frozen=True)
class TracedCall:
    """An answered call that its caller sampled, and what the collector and the metrics have of it."""

    answer: gateway_pb2.RecommendResponse
    spans: list[ReceivedSpan]
    sent: bytes
    page: str


@pytest.fixture(scope="module")
def call(traced: Traced) -> TracedCall:
    """Return one traced call."""

    async def make() -> TracedCall:
        async with traced(0.0) as (stack, collector):
            answer = await stack.gateway.Recommend(REQUEST, timeout=TIMEOUT_S, metadata=SAMPLED)
            page = await asyncio.to_thread(_open_metrics, stack.metrics_ports["gateway"])
        sent = b"".join(request.SerializeToString() for request in collector.requests)
        return TracedCall(answer, collector.spans(), sent, page)

    return asyncio.run(make())


def test_one_call_is_one_trace_below_its_callers_span(call: TracedCall):
    """Each server's span is below the span of the client that called it."""
    assert not call.answer.degradations
    recommend = named(call.spans, "gateway", "RecommendationService/Recommend")
    assert (recommend.kind, recommend.trace_id, recommend.parent_id) == (SERVER, TRACE, SPAN)
    assert recommend.attributes["rpc.response.status_code"] == "OK"
    for stage, called in (("retrieval", "Retrieve"), ("ranking", "Rank")):
        step = named(call.spans, "gateway", stage)
        client = named(call.spans, "gateway", f"{stage}/{called}")
        server = named(call.spans, stage, f"Service/{called}")
        assert (step.kind, client.kind, server.kind) == (INTERNAL, CLIENT, SERVER)
        assert step.parent_id == recommend.span_id
        assert (client.parent_id, server.parent_id) == (step.span_id, client.span_id)
    below = {each.name: each.parent_id for each in call.spans if each.kind == INTERNAL}
    assert below["profile"] == below["policy"] == recommend.span_id
    assert below["encode"] == below["search"] == named(call.spans, "retrieval", "/Retrieve").span_id
    assert below["prepare"] == below["cross_encoder"] == below["fuse"] == named(call.spans, "ranking", "/Rank").span_id


def test_a_batch_is_linked_with_its_call_both_ways(call: TracedCall):
    """A batch is the root of a trace of its own, sampled because a call of it is, with a link to and from the call."""
    reading = named(call.spans, "ranking", "cross_encoder")
    batches = [each for each in call.spans if each.name == "batch"]
    assert reading.links == {(batch.trace_id, batch.span_id) for batch in batches}
    assert {(batch.parent_id, batch.links) for batch in batches} == {("", frozenset({(TRACE, reading.span_id)}))}
    assert sum(batch.attributes["shortlist.pairs"] for batch in batches) == DEPTH
    assert len({each.trace_id for each in call.spans}) == 1 + len(batches)


def test_spans_tell_nothing_of_users(call: TracedCall):
    """Neither ids of users and items nor words of queries leave the servers in spans."""
    assert b"Recommend" in call.sent
    for private in (REQUEST.user_id, *REQUEST.query.split(), *HISTORY):
        assert private.encode() not in call.sent


def test_durations_name_a_trace_as_their_exemplar(call: TracedCall):
    """The page in OpenMetrics format leads from a slow bucket to a trace, and counts the spans."""
    families = {family.name: family for family in text_string_to_metric_families(call.page)}
    for name in ("shortlist_gateway_request_seconds", "shortlist_gateway_stage_seconds"):
        exemplars = [sample.exemplar for sample in families[name].samples if sample.exemplar]
        assert {each.labels["trace_id"] for each in exemplars} == {TRACE}
    counts = {each.labels["outcome"]: each.value for each in families["shortlist_gateway_spans"].samples}
    assert counts["recorded"] == sum(each.service == "shortlist-gateway" for each in call.spans)


async def test_a_share_of_zero_sends_nothing(traced: Traced):
    """The gateway's decision holds for all three servers."""
    async with traced(0.0) as (stack, collector):
        await stack.gateway.Recommend(REQUEST, timeout=TIMEOUT_S)
    assert collector.spans() == []


async def test_a_caller_decides_for_its_call(traced: Traced):
    """With a share of one, calls without a caller's span are traces of their own; a caller can still say no."""
    async with traced(1.0) as (stack, collector):
        for metadata in ((), UNSAMPLED, ()):
            await stack.gateway.Recommend(REQUEST, timeout=TIMEOUT_S, metadata=metadata)
    spans = collector.spans()
    roots = [each for each in spans if each.name.endswith("/Recommend")]
    assert len({each.trace_id for each in roots}) == len(roots) == 2
    assert {each.parent_id for each in roots} == {""}
    assert TRACE not in {each.trace_id for each in spans}


async def test_errors_are_marked_where_they_happen(traced: Traced):
    """An unreachable service is an error of its client's span; a caller's mistake is none of the server's."""
    wrong = gateway_pb2.RecommendRequest(limit=100_000)
    async with traced(0.0, has_ranking=False) as (stack, collector):
        answer = await stack.gateway.Recommend(REQUEST, timeout=TIMEOUT_S, metadata=SAMPLED)
        refused = stack.gateway.Recommend(wrong, timeout=TIMEOUT_S, metadata=SAMPLED)
        assert await refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert answer.degradations
    spans = collector.spans()
    assert named(spans, "gateway", "ranking/Rank").error == "StageUnreachable"
    ends = {
        each.attributes["rpc.response.status_code"]: each for each in spans if each.name.endswith("Service/Recommend")
    }
    assert ends["OK"].attributes["shortlist.degradations"] == ["RANKING_UNAVAILABLE"]
    assert {code: each.error for code, each in ends.items()} == {"OK": "", "INVALID_ARGUMENT": ""}


def test_nothing_is_imported_while_tracing_is_off():
    """A server runs where the extra is not installed, and pays for no import where it is."""
    code = (
        "import sys\nfrom common.server import server\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert asked.stdout.strip() == "[]"


def _open_metrics(port: int) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as page:  # noqa: S310
        return page.read().decode()
