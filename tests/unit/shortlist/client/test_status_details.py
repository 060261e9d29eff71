"""The delay in the details of a status, against Google's own messages."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from shortlist.client.status_details import retry_delay_s


def status(*details: object) -> bytes:
    packed = []
    for detail in details:
        message = AnyMessage()
        message.Pack(detail)
        packed.append(message)
    return bytes(status_pb2.Status(code=8, message="full " * 40, details=packed).SerializeToString())


@given(st.integers(0, 10_000_000_000))
def test_the_delay_is_read(nanoseconds: int):
    """Whatever other details there are."""
    delay = Duration()
    delay.FromNanoseconds(nanoseconds)
    info = error_details_pb2.RetryInfo(retry_delay=delay)
    found = retry_delay_s(status(error_details_pb2.ErrorInfo(reason="x" * 200), info))
    assert found == pytest.approx(nanoseconds / 1e9)


@given(st.binary(max_size=60))
def test_other_bytes_have_no_delay(details: bytes):
    """Bytes that are no status raise nothing."""
    found = retry_delay_s(details)
    assert found is None or found >= 0


def test_a_status_without_retry_info_has_no_delay():
    assert retry_delay_s(status(error_details_pb2.ErrorInfo(reason="r"))) is None
    assert retry_delay_s("text") is None
