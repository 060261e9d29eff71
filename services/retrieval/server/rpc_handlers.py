"""The service's methods in the form that grpc takes: requests are parsed here, responses may be bytes already."""

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
Response = bytes | Message


def rpc_handlers(service: Any) -> grpc.GenericRpcHandler:
    """Return the handlers of the methods of ``service``.

    They replace grpc's generated registration, which does not take bytes as a response. It also parses before any
    interceptor runs, and so answers UNKNOWN rather than INVALID_ARGUMENT if a request can't be parsed.
    """
    methods: dict[str, Any] = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _parsing(getattr(service, method.name), GetMessageClass(method.input_type)),
            response_serializer=_serialise,
        )
        for method in _SERVICE.methods
    }
    return grpc.method_handlers_generic_handler(NAME, methods)


def _parsing(
    method: Callable[[Any, Any], Awaitable[Response]], message_type: type[Message]
) -> Callable[[bytes, Any], Awaitable[Response]]:
    async def parse_and_call(request: bytes, context: Any) -> Response:
        try:
            message = message_type.FromString(request)
        except DecodeError as error:  # truncated, or a string that is not UTF-8
            name = message_type.DESCRIPTOR.name
            raise InvalidRequest(f"the request is not a {name}: {error}; strings must be UTF-8") from error
        return await method(message, context)

    return parse_and_call


def _serialise(response: Response) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
