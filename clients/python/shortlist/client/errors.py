"""Errors of calls, each with what to do about it."""

from __future__ import annotations

from typing import Any, Final

import grpc
from shortlist.client.status_details import retry_delay_s


class ShortlistClientError(Exception):
    """A call that failed.

    Attributes:
        code: gRPC's status.
        details: The server's words.
        request_id: The call's id, as in the server's logs; empty if no server answered.
        retry_after_s: When the server says to call again, in seconds; None if it does not say.
    """

    what_to_do: str = "see the server's log under the request's id"

    def __init__(
        self, code: grpc.StatusCode, details: str, request_id: str = "", retry_after_s: float | None = None
    ) -> None:
        self.code = code
        self.details = details
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        request = f" (request {request_id})" if request_id else ""
        super().__init__(f"{code.name}: {details or 'no details'}{request}; {self.what_to_do}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again, for other processes."""
        return type(self), (self.code, self.details, self.request_id, self.retry_after_s)


class InvalidRequest(ShortlistClientError):
    """The request is not valid."""

    what_to_do = "correct the request; the same one will fail again"


class Unauthenticated(ShortlistClientError):
    """The server does not know the caller."""

    what_to_do = "pass token=… or tls=Tls(…) of a caller in the server's access file"


class PermissionDenied(ShortlistClientError):
    """The caller may not do this."""

    what_to_do = "give the caller the scope in the server's access file"


class NotFound(ShortlistClientError):
    """What the request names does not exist."""

    what_to_do = "check the ids of the request"


class AlreadyExists(ShortlistClientError):
    """What the request makes exists already."""

    what_to_do = "nothing, if it is the same"


class Overloaded(ShortlistClientError):
    """The server or the caller's own limit has no room for the call."""

    what_to_do = "call again after retry_after_s, or less often"


class Unavailable(ShortlistClientError):
    """No server answered."""

    what_to_do = "check the target, and whether the gateway is SERVING"


class DeadlineExceeded(ShortlistClientError):
    """No answer came in time."""

    what_to_do = "give the call more time (timeout_s), or look at the server's latencies"


class InternalError(ShortlistClientError):
    """The server has a fault, or the server is too old for the method."""


_BY_CODE: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    # The client never cancels without raising CancelledError itself: a server that stops cancels.
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


def error_of(error: Any) -> ShortlistClientError:
    """Return the typed error of a ``grpc.RpcError``."""
    metadata = dict(error.trailing_metadata() or ())
    request_id = metadata.get("x-request-id", "")
    code: grpc.StatusCode = error.code()
    return _BY_CODE.get(code, InternalError)(
        code, error.details() or "", str(request_id), retry_delay_s(metadata.get("grpc-status-details-bin", b""))
    )
