"""Addresses of change streams."""

from __future__ import annotations

import pytest

from common.changes.stream_address import StreamAddress


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://r", StreamAddress("redis://r", "shortlist-changes", 0)),
        ("redis://u:p@r:7/3?stream=shop&wait=2", StreamAddress("redis://u:p@r:7/3", "shop", 2)),
        ("rediss://r/0?ssl_cert_reqs=none&stream=s", StreamAddress("rediss://r/0?ssl_cert_reqs=none", "s", 0)),
    ],
)
def test_addresses(text: str, expected: StreamAddress):
    """An address has the URL, the stream and the number of replicas; other options belong to Redis."""
    assert StreamAddress.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [("http://r/0", "'http' is not a scheme of Redis"), ("redis://r?wait=-1", "wait=-1: give the number")],
)
def test_bad_addresses(text: str, message: str):
    """An invalid address is refused with what is wrong."""
    with pytest.raises(ValueError, match=message):
        StreamAddress.parse(text)


def test_passwords_are_not_shown():
    """An address in a log or an error shows neither user nor password."""
    assert str(StreamAddress.parse("redis://user:secret@r:7/3?stream=shop")) == "shop at r:7"
