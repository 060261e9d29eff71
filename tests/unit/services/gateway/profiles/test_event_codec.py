"""Events as bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.release.event_weights import EventKind
from services.gateway.profiles.event_codec import ID_BYTES, pack_event, unpack_event
from services.gateway.profiles.profile_store import Event

_TEXTS = st.text(st.characters(), max_size=256)


@given(_TEXTS, _TEXTS, st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**53), st.binary(min_size=16, max_size=16))
def test_what_is_written_is_read(item_id: str, query: str, at_us: int, arrival: int, event_id: bytes):
    """Any text, also one that UTF-8 does not have, and any time."""
    assert len(event_id) == ID_BYTES
    event = pack_event(Event("", "", EventKind.VIEW, at_us, item_id, query, 1.0))
    assert unpack_event(struct.pack(">Q", arrival) + event_id + event) == (at_us, arrival, item_id, query)


def test_a_time_beyond_64_bits_is_refused():
    """It is not cut off."""
    with pytest.raises(struct.error):
        pack_event(Event("", "", EventKind.VIEW, 2**80))
