"""Requests for a load test, drawn from a real release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from shortlist.gateway.v1 import gateway_pb2

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import open_release
from pipeline.measurement.questions.load_requests import LoadMix, load_requests

COUNT = 400


def _drawn(store: Path, seed: int = 0, **mix: Any) -> list[dict[str, Any]]:
    chosen = LoadMix(**{"shares": {"history": 0.5, "query": 0.25, "both": 0.25}} | mix)
    return list(load_requests(open_release(str(store)), chosen, COUNT, seed))


def test_occasions_have_their_shares(tiny_release: Path):
    """A request has the fields of its occasion."""
    drawn = _drawn(tiny_release)
    histories = sum("history_item_ids" in one for one in drawn)
    queries = sum("query" in one for one in drawn)
    assert abs(histories - 0.75 * COUNT) < 0.1 * COUNT
    assert abs(queries - 0.5 * COUNT) < 0.1 * COUNT
    assert all(len(one) == 1 for one in _drawn(tiny_release, shares={"new_user": 2.0}))


def test_every_request_is_one_of_the_contract(tiny_release: Path):
    """Its items are in the release, and its queries have words."""
    release = open_release(str(tiny_release))
    known = set(Catalogue.open(release.file(CATALOGUE)).table["item_id"].to_pylist())
    for one in _drawn(tiny_release):
        message = json_format.ParseDict(one, gateway_pb2.RecommendRequest())
        assert message.limit == 10
        assert set(message.history_item_ids) <= known
        assert "query" not in one or message.query.strip()


def test_histories_have_the_mean_length_and_the_bound(tiny_release: Path):
    """Lengths are geometric."""
    lengths = [len(one["history_item_ids"]) for one in _drawn(tiny_release, shares={"history": 1.0}, history_items=8.0)]
    assert 6 < sum(lengths) / COUNT < 10
    assert min(lengths) == 1
    bounded = _drawn(tiny_release, shares={"history": 1.0}, history_items=8.0, max_history_items=3)
    assert max(len(one["history_item_ids"]) for one in bounded) == 3


def test_the_same_seed_draws_the_same(tiny_release: Path):
    """And another seed others."""
    assert _drawn(tiny_release) == _drawn(tiny_release)
    assert _drawn(tiny_release) != _drawn(tiny_release, seed=1)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"shares": {"hist": 1.0}}, "'hist' is no occasion"),
        ({"shares": {"history": -1.0}}, "shares are not negative"),
        ({"shares": {}}, "one of them is above 0"),
        ({"history_items": 0.5}, "at least one item"),
    ],
)
def test_a_wrong_mix_is_refused(tiny_release: Path, mix: dict[str, Any], message: str):
    """With what is wrong."""
    with pytest.raises(InvalidRequest, match=message):
        _drawn(tiny_release, **mix)
