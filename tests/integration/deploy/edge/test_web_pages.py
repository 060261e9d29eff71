"""What a web page needs: gRPC-Web, and permission for its origin."""

from __future__ import annotations

import base64
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from shortlist.gateway.v1 import gateway_pb2

pytestmark = pytest.mark.asyncio(loop_scope="session")
Call = Callable[..., Awaitable[Any]]
METHOD = "/shortlist.gateway.v1.RecommendationService/Recommend"
ORIGIN = "https://shop.example"
# gRPC-Web: each part begins with a byte of flags, 0x80 for trailers, and its length.
PART = struct.Struct(">BI")
TRAILERS = 0x80


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def port(fleet: Any) -> int:
    """Return the port of an Envoy that admits one origin."""
    envoy = await fleet.add_envoy({"edge": {"cors": {"origins": [ORIGIN]}}})
    return int(envoy.port)


def _parts(body: bytes) -> dict[int, bytes]:
    parts = {}
    while body:
        flags, length = PART.unpack_from(body)
        parts[flags] = body[PART.size : PART.size + length]
        body = body[PART.size + length :]
    return parts


def _from_base64(text: bytes) -> bytes:
    """Return what is encoded piece by piece, each with a padding of its own."""
    return b"".join(base64.b64decode(text[at : at + 4]) for at in range(0, len(text), 4))


@pytest.mark.parametrize(("encoded", "suffix"), [(bytes, "+proto"), (base64.b64encode, "-text")])
async def test_a_page_calls_by_grpc_web(port: int, http_call: Call, encoded: Callable[[bytes], bytes], suffix: str):
    """In both of its forms, with the answer's status behind the message."""
    message = gateway_pb2.RecommendRequest(limit=2).SerializeToString()
    kind = f"application/grpc-web{suffix}"
    body = encoded(PART.pack(0, len(message)) + message)
    answer = await http_call(port, "POST", METHOD, body, content_type=kind, accept=kind, x_grpc_web="1", origin=ORIGIN)
    parts = _parts(_from_base64(answer.body) if suffix == "-text" else answer.body)
    assert len(gateway_pb2.RecommendResponse.FromString(parts[0]).items) == 2
    assert b"grpc-status:0" in parts[TRAILERS]
    assert answer.headers["access-control-allow-origin"] == ORIGIN


async def test_an_error_reaches_the_page(port: int, http_call: Call):
    """Its status and message are among the headers that a page may read."""
    message = gateway_pb2.RecommendRequest(limit=0).SerializeToString()
    kind = "application/grpc-web+proto"
    body = PART.pack(0, len(message)) + message
    answer = await http_call(port, "POST", METHOD, body, content_type=kind, origin=ORIGIN)
    assert answer.headers["grpc-status"] == "3"
    assert {"grpc-status", "grpc-message"} <= set(answer.headers["access-control-expose-headers"].split(", "))


@pytest.mark.parametrize("path", [METHOD, "/v1/recommend"])
async def test_a_browser_may_ask_first(port: int, http_call: Call, path: str):
    """The preflight is answered for the origin that is admitted, and for no other."""
    asked = {"access_control_request_method": "POST", "access_control_request_headers": "content-type,authorization"}
    answer = await http_call(port, "OPTIONS", path, origin=ORIGIN, **asked)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "authorization" in answer.headers["access-control-allow-headers"]
    other = await http_call(port, "OPTIONS", path, origin="https://evil.example", **asked)
    assert "access-control-allow-origin" not in other.headers


async def test_by_default_no_origin_is_admitted(fleet: Any, http_call: Call):
    """A page of any site could call otherwise."""
    envoy = await fleet.add_envoy()
    answer = await http_call(envoy.port, "POST", "/v1/recommend", {}, origin=ORIGIN)
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
