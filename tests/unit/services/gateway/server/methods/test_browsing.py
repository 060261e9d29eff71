"""Complete and ListFacets through a gateway over fake services."""

from __future__ import annotations

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient


async def test_a_text_is_handed_to_retrieval(client: GatewayClient, backends: Backends):
    """Suggestions come back as they are; a limit left unset is retrieval's default."""
    answer = await client.recommendations.Complete(gateway_pb2.CompleteRequest(text="mil"), timeout=10)
    assert [(each.text, each.kind) for each in answer.suggestions] == [("mil", retrieval_pb2.SUGGESTION_KIND_TITLE)]
    assert answer.release_id == "r1"
    assert answer.request_id
    assert not backends.retrieval.requests[-1].HasField("limit")
    await client.recommendations.Complete(gateway_pb2.CompleteRequest(text="mil", limit=3), timeout=10)
    assert backends.retrieval.requests[-1].limit == 3


async def test_facets_are_counted_over_as_many_candidates_as_are_ranked(client: GatewayClient, backends: Backends):
    """Filter and bounds reach retrieval; a request without a number of candidates gets the gateway's."""
    filter_ = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="brand", values=["acme"]))
    request = gateway_pb2.ListFacetsRequest(
        query="milk", filter=filter_, attributes=["brand"], max_values=4, max_buckets=2
    )
    answer = await client.recommendations.ListFacets(request, timeout=10)
    assert [each.attribute for each in answer.facets] == ["brand"]
    asked = backends.retrieval.requests[-1]
    assert (asked.query, asked.filter, asked.max_values, asked.max_buckets) == ("milk", filter_, 4, 2)
    assert answer.items == asked.candidates == 100
    await client.recommendations.ListFacets(gateway_pb2.ListFacetsRequest(candidates=7), timeout=10)
    assert backends.retrieval.requests[-1].candidates == 7
    assert not backends.retrieval.requests[-1].HasField("filter")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INVALID_ARGUMENT),
        (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.DEADLINE_EXCEEDED),
        (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_retrievals_refusal_is_the_callers(
    client: GatewayClient, backends: Backends, status: grpc.StatusCode, expected: grpc.StatusCode
):
    """What retrieval says of a request reaches the caller; a fault of retrieval is not the gateway's."""
    backends.retrieval.status = status
    with pytest.raises(grpc.aio.AioRpcError, match="failure on demand") as raised:
        await client.recommendations.Complete(gateway_pb2.CompleteRequest(text="milk"), timeout=10)
    assert raised.value.code() is expected
