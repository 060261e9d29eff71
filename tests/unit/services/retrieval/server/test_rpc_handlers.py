"""The handlers that grpc is given parse requests and pass bytes through."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from shortlist.retrieval.v1 import retrieval_pb2

from services.retrieval.server.rpc_handlers import NAME, rpc_handlers

METHODS = [method.name for method in retrieval_pb2.DESCRIPTOR.services_by_name["RetrievalService"].methods]


class Call:
    """The details of a call, as grpc hands them to a generic handler."""

    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = f"/{NAME}/{method}"


class Service:
    """A service that returns one response as bytes and the others as messages; records its requests."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    async def Retrieve(self, message: Any, _context: Any) -> bytes:  # noqa: N802 - the contract's name
        """Return bytes."""
        self.requests.append(message)
        return b"encoded"

    async def GetItems(self, message: Any, _context: Any) -> retrieval_pb2.GetItemsResponse:  # noqa: N802
        """Return a message."""
        self.requests.append(message)
        return retrieval_pb2.GetItemsResponse(missing_item_ids=message.item_ids)

    BatchRetrieve = UpsertItems = DeleteItems = ReadItemTexts = Complete = ListFacets = Retrieve


def handler_of(service: Service, method: str) -> grpc.RpcMethodHandler:
    """Return the handler of a method."""
    handler = rpc_handlers(service).service(Call(method))  # type: ignore[arg-type]
    assert handler is not None
    return handler


async def respond(service: Service, method: str, request: bytes) -> bytes:
    """Call a method as grpc does: bytes in, bytes out."""
    handler = handler_of(service, method)
    message = handler.request_deserializer(request)  # type: ignore[misc]
    response = await handler.unary_unary(message, None)  # type: ignore[misc,arg-type]
    encoded: bytes = handler.response_serializer(response)  # type: ignore[misc]
    return encoded


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_contract_has_a_handler(method: str):
    """The handlers are those of the service's descriptor."""
    assert handler_of(Service(), method).unary_unary is not None


async def test_bytes_and_messages_are_responses():
    """A response of bytes is sent unchanged, and a message is serialised."""
    service = Service()
    request = retrieval_pb2.RetrieveRequest(query="milk")
    assert await respond(service, "Retrieve", request.SerializeToString()) == b"encoded"
    assert service.requests == [request]
    items = retrieval_pb2.GetItemsRequest(item_ids=["a"]).SerializeToString()
    response = retrieval_pb2.GetItemsResponse.FromString(await respond(service, "GetItems", items))
    assert list(response.missing_item_ids) == ["a"]
