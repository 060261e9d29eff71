"""Failed calls in plain words."""

from __future__ import annotations

import grpc
import pytest
from shortlist.client.errors import InternalError, Overloaded

from services.playground.gateways.failures import failure, refusal


def test_a_failure_says_what_to_do():
    """Status, words of the server, request and remedy are there."""
    error = Overloaded(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room", "r1", 0.5)
    assert failure(error, "a") == {
        "kind": "overloaded",
        "code": "RESOURCE_EXHAUSTED",
        "details": "no room",
        "what_to_do": "call again after retry_after_s, or less often",
        "request_id": "r1",
        "retry_after_s": 0.5,
        "gateway": "a",
    }


@pytest.mark.parametrize(
    ("code", "kind"), [(grpc.StatusCode.UNIMPLEMENTED, "too_old"), (grpc.StatusCode.DATA_LOSS, "internal")]
)
def test_every_status_has_a_kind(code: grpc.StatusCode, kind: str):
    """A status without words of its own is a fault of the gateway."""
    assert failure(InternalError(code, ""), "a")["kind"] == kind


def test_a_refusal_has_the_same_form():
    """What the playground refuses itself is shown like a failed call."""
    assert refusal("invalid", "limit: too large") == {"kind": "invalid", "details": "limit: too large"}
