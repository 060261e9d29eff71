"""Cells of a column as a dataset would have them."""

from __future__ import annotations

import polars as pl

from pipeline.data.ingest.plain_text import plain_cell
from pipeline.data.ingest.times import read_times
from pipeline.data.ingest.values import as_ids, as_text, read_flags, read_numbers

_NUMBERS = ("price", "quantity", "value", "relevance", "position")
_FLAGS = ("available", "known_user")
_IDS = ("item_id", "user_id", "event_id", "session_id")


def parsed_column(column: pl.Series, role: str) -> pl.Series:
    """Return a column read as what its role means."""
    if role == "timestamp":
        return read_times(column).times
    if role in _NUMBERS:
        return read_numbers(column).values
    if role in _FLAGS:
        return read_flags(column).values
    if role in _IDS:
        return as_ids(column)
    return pl.Series(column.name, [plain_cell(cell) for cell in as_text(column)], dtype=pl.String)
