"""The service's methods as grpc is given them: requests are read, and answers that are bytes already are taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest

_SERVICE: Final = retrieval_pb2.DESCRIPTOR.services_by_name["RetrievalService"]


NAME: Final = _SERVICE.full_name


Answer = bytes | Message


def handlers(service: Any) -> grpc.GenericRpcHandler:
    """Return the methods of ``service``.

    grpc's generated registration would not take answers that are bytes, and answers UNKNOWN where a request can't be
    parsed, since it parses before any interceptor sees the call.
    """
    methods: dict[str, Any] = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _reading(getattr(service, method.name), GetMessageClass(method.input_type)),
            response_serializer=_serialised,
        )
        for method in _SERVICE.methods
    }
    return grpc.method_handlers_generic_handler(NAME, methods)


def _reading(
    method: Callable[[Any, Any], Awaitable[Answer]], kind: type[Message]
) -> Callable[[bytes, Any], Awaitable[Answer]]:
    async def answer(request: bytes, context: Any) -> Answer:
        try:
            message = kind.FromString(request)
        except DecodeError as error:  # cut off, or a text that is no UTF-8
            raise InvalidRequest(f"the request is no {kind.DESCRIPTOR.name}: {error}; texts must be UTF-8") from error
        return await method(message, context)

    return answer


def _serialised(response: Answer) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
