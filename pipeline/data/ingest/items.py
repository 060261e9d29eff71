"""Items as a shop writes them, cleaned: ids and texts stay text, prices and flags are read, markup goes."""

from __future__ import annotations

import ast
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
_ROUNDED: Final = r"^\d(?:[.,]\d+)?[eE]\+\d{2}$"
# What spreadsheets and reports call their last row.
_TOTALS: Final = (
    r"(?i)^(?:(?:grand|sub)?[ -]?totals?|sum|summe|gesamt|gesamtsumme|totale|somme|suma|合计|总计|小计)[:.]?$"
)
_IS_TOTALS: Final = (pl.int_range(pl.len()) == pl.len() - 1) & pl.col("item_id").str.contains(_TOTALS)
_TEXTS: Final = tuple(MAX_CHARACTERS)


def clean_items(frame: pl.DataFrame, mark: DecimalMark = "auto", codes: Collection[str] = ()) -> RowFilter:
    """Return the usable items of a table with our column names; rows left out, cells emptied and texts cut are counted.

    Args:
        frame: At least `item_id` and `title`, of any type.
        mark: The decimal mark of prices.
        codes: Further columns that stay text, such as sizes and article numbers.
    """
    items = RowFilter(frame)
    as_written = frame["item_id"]
    items.replace("item_id", as_ids(as_written))
    for name in (*_TEXTS, "language"):
        if name in frame.columns:
            items.replace(name, _text(frame[name], name))
    _note_ids(items, as_written)
    items.drop("no_id", "The item has no id.", pl.col("item_id").is_null())
    why = f"The id has more than {MAX_ID_BYTES} bytes, which no caller could send."
    items.drop("long_id", why, pl.col("item_id").str.len_bytes() > MAX_ID_BYTES)
    items.drop("no_title", "The item has no title.", pl.col("title").is_null())
    items.drop("totals", "The last row has a word for a total as its id.", _IS_TOTALS)
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


def _note_ids(items: RowFilter, as_written: pl.Series) -> None:
    """Note ids that mean nothing, and ids that a spreadsheet has rounded: several of these may have become one."""
    if as_written.dtype != pl.String:
        return
    nothing = as_written.filter(items.frame["item_id"].is_null() & (as_written.str.strip_chars() != ""))
    if len(nothing):
        items.note(f"{len(nothing):,} ids are words for nothing, such as {nothing[0]!r}; these items have no id.")
    note_rounded_ids(items, as_written, "items")


def note_rounded_ids(rows: RowFilter, as_written: pl.Series, whose: str) -> None:
    """Note ids that a spreadsheet has rounded: several of what they name, such as `items`, may have become one."""
    if as_written.dtype != pl.String:
        return
    likely = as_written.filter(as_written.str.contains("[eE]\\+").fill_null(value=False))
    rounded = likely.filter(likely.str.contains(_ROUNDED))
    if len(rounded):
        rows.note(
            f"{len(rounded):,} ids are numbers that a spreadsheet has rounded, such as {rounded[0]!r}; several {whose} "
            "may have become one. Export ids as text."
        )


def _text(column: pl.Series, name: str) -> pl.Series:
    text = as_text(column)
    if name == "category":
        text = _joined_lists(text)
    marked = text.str.contains(r"[<&]|\s\s|[\t\n]").fill_null(value=False)
    if marked.any():
        plain = text.filter(marked).alias("text").to_frame().select(plain_column("text")).to_series()
        text = text.scatter(marked.arg_true(), plain)
    return _even_paths(text) if name == "category" else text


def _joined_lists(text: pl.Series) -> pl.Series:
    """Return categories with lists as paths: ["A", "B"] is A > B."""
    lists = text.str.starts_with("[").fill_null(value=False)
    if lists.any():
        text = text.scatter(lists.arg_true(), [_path(cell) for cell in text.filter(lists)])
    return text


def _even_paths(text: pl.Series) -> pl.Series:
    """Return paths with " > " between their parts, and null for a path without parts."""
    paths = text.str.replace_all(r"\s*(?:\s[-=])?(?:[>»›]\s*)+", " > ").str.strip_chars("> ")
    return paths.set(paths == "", None)


def _path(cell: str) -> str:
    parts = _written_list(cell)
    while parts and isinstance(parts[0], list):  # of several paths, the first
        parts = parts[0]
    if parts is None:
        return cell
    return " > ".join(str(part).strip() for part in parts if part is not None and str(part).strip())


def _written_list(cell: str) -> list[object] | None:
    """Return a list that was written as JSON or as Python writes it; None if the cell is none."""
    for read in (json.loads, ast.literal_eval):
        try:
            parts = read(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(parts, list):
            return parts
    return None


def _further(column: pl.Series) -> pl.Series:
    """Return a column without fixed meaning as numbers, yes and no, or text."""
    if column.dtype == pl.String:
        return infer_numbers(as_text(column))
    if column.dtype.is_temporal():
        return column.dt.to_string()
    if column.dtype == pl.Null:
        return column.cast(pl.String)
    return column.set(~column.is_finite(), None) if column.dtype.is_float() else column
