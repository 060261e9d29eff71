"""Failed calls in plain words, with what to do."""

from __future__ import annotations

from typing import Any, Final

from shortlist.client import ShortlistClientError

# What the page calls each kind of failure; it has a sentence for each, in every language.
_KINDS: Final = {
    "INVALID_ARGUMENT": "invalid",
    "OUT_OF_RANGE": "invalid",
    "FAILED_PRECONDITION": "invalid",
    "NOT_FOUND": "not_found",
    "UNAUTHENTICATED": "not_known",
    "PERMISSION_DENIED": "not_allowed",
    "RESOURCE_EXHAUSTED": "overloaded",
    "UNAVAILABLE": "unavailable",
    "CANCELLED": "unavailable",
    "DEADLINE_EXCEEDED": "too_slow",
    "UNIMPLEMENTED": "too_old",
}
# The HTTP status of each kind; any other is the gateway's own fault.
STATUSES: Final = {"invalid": 400, "not_found": 404, "not_known": 502, "not_allowed": 502, "overloaded": 503}


def failure(error: ShortlistClientError, gateway: str) -> dict[str, Any]:
    """Return a failed call as the page shows it.

    Args:
        error: The error of the client.
        gateway: The name of the gateway that was asked.
    """
    return {
        "kind": _KINDS.get(error.code.name, "internal"),
        "code": error.code.name,
        "details": error.details,
        "what_to_do": error.what_to_do,
        "request_id": error.request_id,
        "retry_after_s": error.retry_after_s,
        "gateway": gateway,
    }


def refusal(kind: str, details: str) -> dict[str, Any]:
    """Return a request that the playground itself refuses, in the same form."""
    return {"kind": kind, "details": details}
