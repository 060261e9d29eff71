"""The delay that a server asks for, in the details of a status.

The details are a ``google.rpc.Status`` with a ``google.rpc.RetryInfo`` inside. Their stubs are a package of their own
(googleapis-common-protos), which pins protobuf; so the four fields are read here. Source: protobuf's wire format,
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

_STATUS_DETAILS: Final = 3
_RETRY_DELAY: Final = 1
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def retry_delay_s(details: bytes | str) -> float | None:
    """Return the delay of a status's details in seconds; None if they have none, or are not a status."""
    if isinstance(details, str):
        return None
    try:
        for number, value in _fields(details):
            if number == _STATUS_DETAILS:
                detail = AnyMessage.FromString(value)
                if detail.type_url == _RETRY_INFO:
                    return _delay_s(detail.value)
    except (DecodeError, IndexError, ValueError):
        return None
    return None


def _delay_s(retry_info: bytes) -> float | None:
    for number, value in _fields(retry_info):
        if number == _RETRY_DELAY:
            delay = Duration.FromString(value)
            return max(0.0, delay.seconds + delay.nanos / 1e9)
    return None


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and value of a message's length-delimited fields; raises ValueError or IndexError if it is none."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == _BYTES:
            size, position = _varint(message, position)
            if position + size > len(message):
                raise ValueError("a field is longer than its message")
            yield tag >> 3, message[position : position + size]
            position += size
        elif kind == _VARINT:
            _, position = _varint(message, position)
        elif kind in {_FIXED64, _FIXED32}:
            position += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position
        shift += 7
