"""The error tree."""

from __future__ import annotations

import grpc
import pytest

from common import errors

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ShortlistError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_names_a_grpc_status(kind: type[errors.ShortlistError]):
    """The status of every error is the name of a gRPC status code, and its text is what was said."""
    assert kind.status in grpc.StatusCode.__members__
    assert str(kind("what is wrong")) == "what is wrong"


def test_errors_for_callers_have_distinct_statuses():
    """No two errors share a status, so that callers can tell them apart; TooLarge is Overloaded without RetryInfo."""
    assert errors.TooLarge.status == errors.Overloaded.status
    distinct = [kind for kind in CLASSES if kind is not errors.TooLarge]
    assert len({kind.status for kind in distinct}) == len(distinct)
