"""A write-ahead log that is cut at any byte still holds every change before the cut."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change import Change
from services.retrieval.changes.write_ahead_log import FILE, WriteAheadLog

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
items = st.builds(
    Item,
    item_id=texts,
    title=texts,
    brand=texts,
    category=texts,
    description=texts,
    price=st.none() | st.floats(0, 1e300),
    available=st.booleans(),
)


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Generate a change of up to three items and three deletions."""
    upserted = tuple(draw(st.lists(items, max_size=3)))
    numbers = draw(st.lists(st.floats(-1, 1, width=32), min_size=2 * len(upserted), max_size=2 * len(upserted)))
    deleted = tuple(draw(st.lists(texts, max_size=3)))
    return Change(upserted, np.array(numbers, dtype=np.float32).reshape(-1, 2), draw(texts), deleted)


@given(written=st.lists(changes(), max_size=5), cut=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_cut_log_comes_back_with_whole_changes(written: list[Change], cut: float):
    """A log cut at any byte reads back every change that is whole before the cut, and takes new ones."""
    with tempfile.TemporaryDirectory() as folder:
        log, ends = WriteAheadLog(Path(folder)), []
        for change in written:
            log.append(change)
            ends.append(log.end)
        log.close()
        file = Path(folder) / FILE
        size = round(cut * file.stat().st_size)
        file.write_bytes(file.read_bytes()[:size])
        again = WriteAheadLog(Path(folder))
        kept = [change for change, end in zip(written, ends, strict=True) if end <= size]
        again.append(Change((), np.empty((0, 2), dtype=np.float32), "", ("last",)))
        read = [change.to_bytes() for _, change in again.read()]
        again.close()
        assert read[:-1] == [change.to_bytes() for change in kept]
