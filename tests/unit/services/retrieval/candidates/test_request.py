"""The limits of requests and batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from common.errors import InvalidRequest
from services.retrieval.candidates.request import (
    MAX_BATCH_CANDIDATES,
    MAX_LIMIT,
    MAX_REQUESTS,
    Request,
    check_batch,
    check_batch_size,
    check_request,
)

SOURCES = ("popular", "semantic")


def check(request: Request) -> None:
    """Check a request against an encoder of two dimensions."""
    check_request(request, 2, SOURCES)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"query": "x" * 1_000, "limit": 1, "sources": ["popular", "popular"]},
        {"limit": MAX_LIMIT, "vector": np.array([0, -3], np.float32)},
        {"history_item_ids": ["é" * 128] * 10_000, "exclude_item_ids": ["x" * 256] * 10_000},
    ],
)
def test_requests_within_the_limits_pass(fields: dict[str, Any]):
    """The largest values that the contract allows pass."""
    check(Request(**fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"query": "x" * 1_001}, "query: 1,001 characters; at most 1,000"),
        ({"limit": 0}, "limit: 0 is not 1 to 1000"),
        ({"limit": 1_001}, "limit: 1001 is not 1 to 1000"),
        ({"vector": np.ones(3, np.float32)}, "vector: 3 numbers; the encoder's embeddings have 2"),
        ({"vector": np.array([1, np.inf], np.float32)}, "vector: holds NaN or infinity"),
        ({"history_item_ids": ["x"] * 10_001}, "history_item_ids: 10,001 given; at most 10,000"),
        ({"exclude_item_ids": ["a", "é" * 129]}, r"exclude_item_ids\[1\]: longer than the 256 bytes"),
        ({"sources": ["popular", "magic"]}, r"sources\[1\]: no source 'magic'; there are popular, semantic"),
    ],
)
def test_requests_beyond_a_limit_are_refused(fields: dict[str, Any], message: str):
    """Each limit is refused with the field's name, in a batch with the position."""
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        check(Request(**fields))
    with pytest.raises(InvalidRequest, match=rf"^requests\[2\]\.{message}"):
        check_batch([Request(), Request(), Request(**fields)], check)


@pytest.mark.parametrize(("count", "allowed"), [(0, False), (1, True), (MAX_REQUESTS, True), (MAX_REQUESTS + 1, False)])
def test_a_batch_has_a_bounded_number_of_requests(count: int, allowed: bool):
    """A batch has 1 to 256 requests."""
    if allowed:
        check_batch_size(count)
    else:
        with pytest.raises(InvalidRequest, match=f"^requests: {count} given; give 1 to 256"):
            check_batch_size(count)


@pytest.mark.parametrize(
    ("limits", "total"),
    [([MAX_LIMIT] * 65 + [MAX_BATCH_CANDIDATES - 65_000], None), ([MAX_LIMIT] * 66, "66,000")],
)
def test_a_batch_has_a_bounded_number_of_candidates(limits: Sequence[int], total: str | None):
    """The limits of a batch add up to at most 65,536."""
    requests = [Request(limit=limit) for limit in limits]
    if total is None:
        check_batch(requests, check)
    else:
        with pytest.raises(InvalidRequest, match=f"^requests: limits add up to {total}; at most 65,536"):
            check_batch(requests, check)


def test_a_query_is_embedded_in_its_normal_form():
    """Full-width letters and characters that are not seen do not change what is embedded; the case stays."""
    assert Request("ＭＩＬＫ\u200b tea ").text == "MILK tea"
    assert not Request("\u200b\ufeff").has_text
