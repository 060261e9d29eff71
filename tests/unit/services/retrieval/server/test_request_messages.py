"""Reading requests: values, defaults, and the form of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest
from common.filters import Match
from services.retrieval.candidates.request import DEFAULT_LIMIT, MAX_LIMIT
from services.retrieval.server.request_messages import read_items, read_request, read_requests

VECTOR = [1.0, -2.0, 0.5]
VECTOR_F32 = np.array(VECTOR, "<f4").tobytes()


def test_a_request_is_read_with_every_field():
    """Every field of the message is a field of the request."""
    message = retrieval_pb2.RetrieveRequest(
        query="milk",
        history_item_ids=["a", "b", "a"],
        exclude_item_ids=["c"],
        limit=7,
        sources=["semantic"],
        seed=3,
        filter=retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="brand", values=["acme"])),
        evidence=[retrieval_pb2.EVIDENCE_SIMILAR, retrieval_pb2.EVIDENCE_BEHAVIOUR],
    )
    request = read_request(message)
    assert (request.query, request.limit, request.seed, request.vector) == ("milk", 7, 3, None)
    assert [list(ids) for ids in (request.history_item_ids, request.exclude_item_ids)] == [["a", "b", "a"], ["c"]]
    assert list(request.sources) == ["semantic"]
    assert request.evidence == {"similar", "behaviour"}
    assert request.filter == Match("brand", ("acme",))


def test_an_empty_request_has_defaults():
    """An empty message asks for the default number of candidates, without filter and vector."""
    request = read_request(retrieval_pb2.RetrieveRequest())
    assert (request.limit, request.filter, request.vector) == (DEFAULT_LIMIT, None, None)


@pytest.mark.parametrize("fields", [{"vector": VECTOR}, {"vector_f32": VECTOR_F32}])
def test_a_vector_is_given_as_numbers_or_bytes(fields: dict[str, Any]):
    """Both forms of a vector read as the same float32 numbers, in requests and items."""
    for vector in (
        read_request(retrieval_pb2.RetrieveRequest(**fields)).vector,
        read_items([retrieval_pb2.Item(**fields)])[0].vector,
    ):
        assert vector is not None
        assert vector.dtype == np.float32
        assert vector.tolist() == VECTOR


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vector": VECTOR, "vector_f32": VECTOR_F32}, "vector_f32: given together with vector; give one of them"),
        ({"vector_f32": VECTOR_F32[:-1]}, "vector_f32: 11 bytes; give a multiple of 4"),
    ],
)
def test_a_vector_in_a_wrong_form_is_refused(fields: dict[str, Any], message: str):
    """A vector in both forms, or cut, is refused with the field, and in a list with the position."""
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        read_request(retrieval_pb2.RetrieveRequest(**fields))
    with pytest.raises(InvalidRequest, match=rf"^requests\[1\]\.{message}"):
        read_requests([retrieval_pb2.RetrieveRequest(), retrieval_pb2.RetrieveRequest(**fields)])
    with pytest.raises(InvalidRequest, match=rf"^items\[1\]\.{message}"):
        read_items([retrieval_pb2.Item(), retrieval_pb2.Item(**fields)])


def test_reading_checks_no_limits():
    """Limits are checked on the values read, by `check_request` and `check_items`."""
    assert read_request(retrieval_pb2.RetrieveRequest(limit=MAX_LIMIT + 1)).limit == MAX_LIMIT + 1
    assert math.isnan(read_items([retrieval_pb2.Item(price=math.nan)])[0].price or 0)


def test_an_item_is_read_with_its_defaults():
    """An item without price has none, and is available unless it says otherwise."""
    plain, sold_out = read_items(
        [retrieval_pb2.Item(item_id="a", title="A"), retrieval_pb2.Item(item_id="b", price=0, available=False)]
    )
    assert (plain.item_id, plain.title, plain.price, plain.available) == ("a", "A", None, True)
    assert (sold_out.price, sold_out.available) == (0.0, False)


def test_queries_and_texts_are_plain():
    """Markup and entities leave a query and an item's texts."""
    assert read_request(retrieval_pb2.RetrieveRequest(query="<b>tea</b> &amp; a < b")).query == "tea & a < b"
    texts = {"title": "R&amp;D <i>set</i>", "brand": "A&amp;B", "category": "Tea &gt; Green"}
    marked = retrieval_pb2.Item(item_id="<1>", description="<p>x</p><p>y</p>", **texts)
    item = read_items([marked])[0]
    assert (item.item_id, item.title, item.brand, item.category, item.description) == (
        "<1>",
        "R&D set",
        "A&B",
        "Tea > Green",
        "x y",
    )


def test_texts_beyond_every_limit_are_left_to_the_check():
    """They are refused as they are, without the work of parsing them."""
    title = "<b>" * 10_000
    assert read_items([retrieval_pb2.Item(item_id="1", title=title)])[0].title == title


@pytest.mark.parametrize("number", [retrieval_pb2.EVIDENCE_UNSPECIFIED, 77])
def test_unknown_evidence_is_refused(number: int):
    """Evidence that is not set or not known would find nothing, silently."""
    message = retrieval_pb2.RetrieveRequest(evidence=[retrieval_pb2.EVIDENCE_SIMILAR, number])  # type: ignore[list-item]
    with pytest.raises(InvalidRequest, match=rf"evidence\[1\]: {number} is not"):
        read_request(message)
