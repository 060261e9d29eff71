"""What a shop's pages ask, from a shell."""

from __future__ import annotations

import pytest
from shortlist.cli.__main__ import main
from shortlist.client.fake import FakeGateway
from shortlist.gateway.v1 import gateway_pb2


def test_items_near_an_item_are_a_table(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]):
    assert main(["similar", "--target", gateway.target, "bread", "--limit", "1", "--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["#", "item", "title", "brand", "price", "found", "by", "why"]
    assert [line.split()[:3] for line in lines[2:3]] == [["1", "milk", "milk"]]
    assert lines[-1].startswith("1 items of release fake")


def test_a_cart_is_completed(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]):
    assert main(["related", "--target", gateway.target, "bread", "tea", "--exclude", "milk"]) == 0
    out = capsys.readouterr().out
    assert "eggs" in out
    assert "note: 1 items of the cart are not in the release" in out


@pytest.mark.parametrize("command", ["similar", "related"])
def test_what_rules_and_reasons_need_is_sent(gateway: FakeGateway, command: str):
    """Country, placement and language reach the gateway."""
    asked = []

    def answer(_: set[str], request: gateway_pb2.SimilarItemsRequest) -> list[gateway_pb2.RelatedItem]:
        asked.append((request.country, request.placement, request.language))
        return []

    gateway._others = answer
    options = ["--country", "DE", "--placement", "page", "--language", "fr"]
    assert main([command, "--target", gateway.target, "bread", *options]) == 0
    assert asked == [("DE", "page", "fr")]


def test_an_unknown_item_is_one_line(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]):
    assert main(["similar", "--target", gateway.target, "tea"]) == 1
    assert capsys.readouterr().err.startswith("error: NOT_FOUND")


def test_a_text_is_completed(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]):
    assert main(["complete", "--target", gateway.target, "Mi"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[2:]] == [
        ["milk", "title", "milk", "0.00", "0"]
    ]


def test_values_are_counted(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]):
    """The last line says over what."""
    assert main(["facets", "--target", gateway.target, "brand", "category", "--where", "available=true"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:4]] == [["brand", "fake", "3"], ["category", "fake", "3"]]
    assert lines[-1].startswith("counted over 3 items that match")
    assert main(["facets", "--target", gateway.target, "--query", "milk"]) == 0
    assert "3 candidates of the query" in capsys.readouterr().out
