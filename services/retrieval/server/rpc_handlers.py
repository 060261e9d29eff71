"""The service's methods in the form that grpc takes; responses may be bytes already."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from shortlist.retrieval.v1 import retrieval_pb2

_SERVICE: Final = retrieval_pb2.DESCRIPTOR.services_by_name["RetrievalService"]
NAME: Final = _SERVICE.full_name
Response = bytes | Message


def rpc_handlers(service: Any) -> grpc.GenericRpcHandler:
    """Return the handlers of the methods of ``service``.

    They replace grpc's generated registration, which does not take bytes as a response.
    """
    methods: dict[str, Any] = {
        method.name: grpc.unary_unary_rpc_method_handler(
            getattr(service, method.name),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=_serialise,
        )
        for method in _SERVICE.methods
    }
    return grpc.method_handlers_generic_handler(NAME, methods)


def _serialise(response: Response) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
