"""The error tree: errors for callers, each with its gRPC status.

    ShortlistError
    ├── InvalidRequest      INVALID_ARGUMENT     the request violates the contract; the message names the field
    ├── NotFound            NOT_FOUND            an item or a release that does not exist
    ├── Overloaded          RESOURCE_EXHAUSTED   no capacity; comes with RetryInfo
    ├── TooLarge            RESOURCE_EXHAUSTED   a request or answer beyond the limit of bytes; repeating does not help
    ├── NotReady            UNAVAILABLE          starting, draining, or something required is missing
    ├── Unauthenticated     UNAUTHENTICATED      no credentials where some are needed, or bad ones
    ├── PermissionDenied    PERMISSION_DENIED    the caller is known and may not do this
    ├── DeadlineTooShort    DEADLINE_EXCEEDED    refused before computing
    └── BadRelease          FAILED_PRECONDITION  a release that is missing, incomplete or altered

Engines raise these, and one interceptor (:mod:`common.server.interceptors`) translates them. Any other error becomes
INTERNAL with the text "internal error"; only the log has its stack trace. This module does not import grpc, so that
engines need not.
"""

from __future__ import annotations


class ShortlistError(Exception):
    """An error that is reported to the caller, with the name of its gRPC status code."""

    status = "INTERNAL"


class InvalidRequest(ShortlistError):  # noqa: N818 - named for what it is, like the status codes
    """The request violates the contract; the message names the field and what to do."""

    status = "INVALID_ARGUMENT"


class NotFound(ShortlistError):  # noqa: N818
    """The server does not have this item or release."""

    status = "NOT_FOUND"


class Overloaded(ShortlistError):  # noqa: N818
    """The server has no capacity; try again after ``retry_after_s`` seconds."""

    status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after_s: float = 0.1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooLarge(ShortlistError):  # noqa: N818
    """A request or an answer has too many bytes; repeating the call does not help."""

    status = "RESOURCE_EXHAUSTED"


class NotReady(ShortlistError):  # noqa: N818
    """The server is starting or draining, or something that it requires is missing."""

    status = "UNAVAILABLE"


class Unauthenticated(ShortlistError):  # noqa: N818
    """The call has no credentials and needs some, or has bad ones."""

    status = "UNAUTHENTICATED"


class PermissionDenied(ShortlistError):  # noqa: N818
    """The caller is known and may not make this call."""

    status = "PERMISSION_DENIED"


class DeadlineTooShort(ShortlistError):  # noqa: N818
    """The work cannot be finished by the caller's deadline, so it was not started."""

    status = "DEADLINE_EXCEEDED"


class BadRelease(ShortlistError):  # noqa: N818
    """The release is missing, incomplete, altered or of another format."""

    status = "FAILED_PRECONDITION"
