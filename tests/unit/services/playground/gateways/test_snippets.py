"""Requests as code."""

from __future__ import annotations

import json
import shlex

import pytest
from google.protobuf.json_format import ParseDict
from shortlist.client.fake import FakeGateway
from shortlist.client.requests import recommend_request
from shortlist.gateway.v1 import gateway_pb2

from services.playground.gateways.request import AskedRequest
from services.playground.gateways.snippets import snippets

ASKED = AskedRequest.model_validate(
    {
        "user_id": "ann",
        "query": 'l\'eau "plate" $HOME 水',
        "history": ["1", "2"],
        "where": {"values": {"brand": ["a'b"]}, "max_price": 3.5},
        "limit": 5,
        "rules": {"min_probability": 0.1, "exclude_history": True, "blocked_item_ids": ["9"]},
    }
)


def test_the_python_code_sends_the_same_request(first: FakeGateway, capsys: pytest.CaptureFixture[str]):
    """The code runs as it is, and the gateway gets the request of the page."""
    for asked in (ASKED, AskedRequest()):
        exec(snippets(asked, first.target, tls=False)["python"], {})  # noqa: S102 - it is what is tested
        assert first.requests[-1] == recommend_request(**asked.arguments(), explain=True)
    assert "milk" in capsys.readouterr().out


def test_the_shell_code_sends_the_same_request():
    """A shell reads the request back whole, whatever quotes it has."""
    words = shlex.split(snippets(ASKED, "127.0.0.1:50051", tls=False)["grpcurl"])
    assert words[:3] == ["grpcurl", "-plaintext", "-d"]
    assert words[4:] == ["127.0.0.1:50051", "shortlist.gateway.v1.RecommendationService/Recommend"]
    request = ParseDict(json.loads(words[3]), gateway_pb2.RecommendRequest())
    assert request == recommend_request(**ASKED.arguments(), explain=True)


def test_the_node_code_has_the_same_request():
    """The object in the code is the request."""
    code = snippets(ASKED, "127.0.0.1:50051", tls=False)["node"]
    request = json.loads(code[code.index("Recommend({") + len("Recommend(") : code.index(", (error")])
    expected = recommend_request(**ASKED.arguments(), explain=True)
    assert ParseDict(request, gateway_pb2.RecommendRequest()) == expected


def test_tls_is_in_the_code():
    """With TLS, no code asks in the clear."""
    codes = snippets(ASKED, "gateway:50051", tls=True)
    assert "-plaintext" not in codes["grpcurl"]
    assert "createSsl()" in codes["node"]
    assert "tls=Tls()" in codes["python"]
