"""Errors of calls."""

from __future__ import annotations

import pickle

import grpc
from shortlist.client.errors import Overloaded, ShortlistClientError


def test_errors_can_be_sent_to_other_processes():
    error = pickle.loads(pickle.dumps(Overloaded(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "r1", 2.5)))  # noqa: S301
    assert isinstance(error, ShortlistClientError)
    assert (error.details, error.request_id, error.retry_after_s) == ("full", "r1", 2.5)
