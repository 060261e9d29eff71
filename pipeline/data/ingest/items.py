"""Items as a shop writes them, cleaned: ids and texts stay text, prices and flags are read, markup goes."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

import polars as pl

from pipeline.data.dataset.schema import ITEMS
from pipeline.data.files.tables import infer_numbers
from pipeline.data.ingest.plain_text import plain_column
from pipeline.data.ingest.row_filter import RowFilter
from pipeline.data.ingest.values import DecimalMark, as_ids, as_text, read_flags, read_numbers

MAX_ID_BYTES: Final = 256
# What the contract accepts in UpsertItems; longer texts are cut.
MAX_CHARACTERS: Final = {"title": 2_000, "brand": 200, "category": 200, "description": 20_000}
_TEXTS: Final = tuple(MAX_CHARACTERS)


def clean_items(frame: pl.DataFrame, mark: DecimalMark = "auto", codes: Collection[str] = ()) -> RowFilter:
    """Return the usable items of a table with our column names; rows left out, cells emptied and texts cut are counted.

    Args:
        frame: At least `item_id` and `title`, of any type.
        mark: The decimal mark of prices.
        codes: Further columns that stay text, such as sizes and article numbers.
    """
    items = RowFilter(frame)
    items.replace("item_id", as_ids(frame["item_id"]))
    for name in (*_TEXTS, "language"):
        if name in frame.columns:
            items.replace(name, _text(frame[name], name))
    items.drop("no_id", "The item has no id.", pl.col("item_id").is_null())
    why = f"The id has more than {MAX_ID_BYTES} bytes, which no caller could send."
    items.drop("long_id", why, pl.col("item_id").str.len_bytes() > MAX_ID_BYTES)
    items.drop("no_title", "The item has no title.", pl.col("title").is_null())
    items.drop(
        "repeated_id", "An item with this id came before; the first one stays.", ~pl.col("item_id").is_first_distinct()
    )
    for name, limit in MAX_CHARACTERS.items():
        if name in items.frame.columns:
            items.cut(name, limit)
    if "price" in frame.columns:
        read = read_numbers(items.frame["price"], mark)
        negative = (read.values < 0).fill_null(value=False)
        items.read("price", read.values.set(negative, None), read.unreadable | negative)
    if "available" in frame.columns:
        flags = read_flags(items.frame["available"])
        items.read("available", flags.values, flags.unreadable)
    known = {*ITEMS.needed, *ITEMS.optional}
    for name in items.frame.columns:
        if name not in known:
            further = as_ids(items.frame[name]) if name in codes else _further(items.frame[name])
            items.replace(name, further)
    return items


def _text(column: pl.Series, name: str) -> pl.Series:
    text = as_text(column)
    if name == "category":
        text = _category_paths(text)
    marked = text.str.contains(r"[<&]|\s\s|[\t\n]").fill_null(value=False)
    if not marked.any():
        return text
    plain = text.filter(marked).alias("text").to_frame().select(plain_column("text")).to_series()
    return text.scatter(marked.arg_true(), plain)


def _category_paths(text: pl.Series) -> pl.Series:
    """Return categories with lists as paths: ["A", "B"] is A > B; other paths are evened out."""
    lists = text.str.starts_with("[").fill_null(value=False)
    if lists.any():
        text = text.scatter(lists.arg_true(), [_path(cell) for cell in text.filter(lists)])
    return text.str.replace_all(r"\s*(?:&gt;|>|»|›)\s*", " > ")


def _path(cell: str) -> str:
    try:
        parts = json.loads(cell.replace("'", '"') if '"' not in cell else cell)
    except ValueError:
        return cell
    while isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], list):
        parts = parts[0]
    return " > ".join(str(part).strip() for part in parts) if isinstance(parts, list) else cell


def _further(column: pl.Series) -> pl.Series:
    """Return a column without fixed meaning as numbers, yes and no, or text."""
    if column.dtype == pl.String:
        return infer_numbers(as_text(column))
    if column.dtype in (pl.Date, pl.Time) or isinstance(column.dtype, pl.Datetime):
        return column.dt.to_string()
    if column.dtype == pl.Null:
        return column.cast(pl.String)
    return column.set(~column.is_finite(), None) if column.dtype.is_float() else column
