"""Events as members of Redis sorted sets: bytes that sort by arrival."""

from __future__ import annotations

import math
import struct
from typing import Final, NamedTuple

from services.gateway.profiles.profile_store import Event

ID_BYTES: Final = 16
# In front of what is written here, Redis puts the number of the arrival in 8 bytes and the event's id in 16.
_PREFIX: Final = struct.Struct(f">Q{ID_BYTES}s")
_HEAD: Final = struct.Struct(">qdH")


class StoredEvent(NamedTuple):
    """What is read back of an event; its kind is that of the set it is in."""

    occurred_at_us: int
    arrival: int
    item_id: str
    query: str


def pack_event(event: Event) -> bytes:
    """Return an event without its ids and its kind; raises struct.error if its time does not fit 64 bits."""
    item = event.item_id.encode("utf-8", "surrogatepass")
    value = math.nan if event.value is None else event.value
    query = event.query.encode("utf-8", "surrogatepass")
    return _HEAD.pack(event.occurred_at_us, value, len(item)) + item + query


def unpack_event(member: bytes) -> StoredEvent:
    """Read a member of a sorted set."""
    arrival, _ = _PREFIX.unpack_from(member)
    occurred_at_us, _, length = _HEAD.unpack_from(member, _PREFIX.size)
    text = memoryview(member)[_PREFIX.size + _HEAD.size :]
    return StoredEvent(occurred_at_us, arrival, _text(text[:length]), _text(text[length:]))


def _text(content: memoryview) -> str:
    return str(content, "utf-8", "surrogatepass")
