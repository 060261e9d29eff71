"""The error tree: what can go wrong for a caller, and the gRPC status that says so.

    ShortlistError
    ├── InvalidRequest      INVALID_ARGUMENT     the caller's mistake; the message names the field
    ├── NotFound            NOT_FOUND            an item or a release that is not there
    ├── Overloaded          RESOURCE_EXHAUSTED   full; comes with RetryInfo
    ├── NotReady            UNAVAILABLE          starting, draining, or a part is missing
    ├── DeadlineTooShort    DEADLINE_EXCEEDED    refused before it costs compute
    └── BadRelease          FAILED_PRECONDITION  a release that is missing, incomplete or altered

Engines raise these; one interceptor (:mod:`common.server.interceptors`) translates. Anything else is INTERNAL with the
text "internal error", its stack in the log alone. The tree knows nothing of grpc, so that engines need not either.
"""

from __future__ import annotations


class ShortlistError(Exception):
    """Anything that a caller may be told, with the name of the gRPC status code that tells it."""

    status = "INTERNAL"


class InvalidRequest(ShortlistError):  # noqa: N818 - named for what it is, as the contract does
    """The request violates the contract; the message names the field and what to do."""

    status = "INVALID_ARGUMENT"


class NotFound(ShortlistError):  # noqa: N818
    """An item or a release that the server does not have."""

    status = "NOT_FOUND"


class Overloaded(ShortlistError):  # noqa: N818
    """No room for more work; try again after ``retry_after_s`` seconds."""

    status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after_s: float = 0.1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReady(ShortlistError):  # noqa: N818
    """The server is starting or draining, or a part that it needs is missing."""

    status = "UNAVAILABLE"


class DeadlineTooShort(ShortlistError):  # noqa: N818
    """The work cannot be finished by the caller's deadline, so it was not begun."""

    status = "DEADLINE_EXCEEDED"


class BadRelease(ShortlistError):  # noqa: N818
    """A release that is missing, incomplete, altered or of another format."""

    status = "FAILED_PRECONDITION"
