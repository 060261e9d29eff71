"""Amazon Reviews 2018 and 2023 (McAuley Lab): one category's reviews and metadata, JSON Lines, gzipped or not.

``data`` is a folder with the metadata, a file whose name begins with ``meta_``, and the reviews, as
published: ``Office_Products.json.gz`` and ``meta_Office_Products.json.gz`` (2018, also the ``_5`` cores), or
``Office_Products.jsonl.gz`` and ``meta_Office_Products.jsonl.gz`` (2023).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.dataset.schema import TIMESTAMP, BadDataset
from pipeline.data.files.json_lines import READABLE, Fields, read_json_lines
from pipeline.data.ingest.plain_text import plain_cell, plain_list
from pipeline.data.ingest.row_filter import RowFilter, refuse_empty

_SUFFIXES: Final = (".json", ".jsonl", ".json.gz", ".jsonl.gz")


_ITEM: Final[dict[str, type[pl.DataType]]] = {
    **dict.fromkeys(("item_id", "title", "brand", "category", "description"), pl.String),
    "price": pl.Float64,
}


_EVENT: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "user_id": pl.String,
    "item_id": pl.String,
    "value": pl.Float64,
    "timestamp": TIMESTAMP,
}


# Deeper levels of 2018 hold features and mark-up as often as shelves.
_SHELF_LEVEL: Final = 2


_LOWEST: Final = 1


_HIGHEST: Final = 5


_PRICE: Final = re.compile(r"^\$?\s*([\d,]+(?:\.\d+)?)$")


_BY: Final = re.compile(r"(?i)^by\s+")


# Pages that were taken for titles when the metadata of 2018 was collected.
_SCRIPT: Final = r"getTime\(|aPageStart|function\s*\("


@dataclass(frozen=True)
class _Edition:
    """Field names of one edition.

    Attributes:
        year: The edition's year.
        review: Fields of a review: user, item, stars, time.
        item: The field of the metadata that reviews name the item by.
        brand: The field with the maker, or the shop.
        shelves: The field with the path of categories, from the whole shop down.
        ticks: Time units per second.
    """

    year: int
    review: tuple[str, str, str, str]
    item: str
    brand: str
    shelves: str
    ticks: int


_2018: Final = _Edition(2018, ("reviewerID", "asin", "overall", "unixReviewTime"), "asin", "brand", "category", 1)


_2023: Final = _Edition(
    2023, ("user_id", "parent_asin", "rating", "timestamp"), "parent_asin", "store", "categories", 1_000
)


def _prepare(edition: _Edition, data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a category. Items are all products with a title, reviewed or not; a review is a rating.

    Raises:
        BadDataset: A file is missing, cut off or of the other edition, or nothing usable is left.
    """
    reviews, metadata = _files(data)
    progress("reading products")
    items = RowFilter(read_json_lines(metadata, _ITEM, _item_of(edition), (edition.item,)))
    _clean_items(items)
    refuse_empty(items, str(metadata))
    progress("reading reviews")
    events = RowFilter(read_json_lines(reviews, _EVENT, _event_of(edition), edition.review))
    _clean_events(events, items.frame)
    refuse_empty(events, str(reviews))
    kept_items = items.frame.drop(READABLE)
    kept = events.frame.drop(READABLE).with_columns(pl.lit("rating").alias("event"))
    adapter = _adapter(edition)
    report = DataReport(
        source=adapter.name,
        licence=adapter.licence,
        tables={"items": items.report(missing_in=kept_items), "events": events.report(missing_in=kept)},
        notes=[f"{kept_items.height - kept['item_id'].n_unique():,} items were never reviewed."],
    )
    return Dataset(kept_items, kept, None, report)


def _files(data: Path) -> tuple[Path, Path]:
    if not data.is_dir():
        raise BadDataset(f"{data} is no folder; name the folder that holds reviews and metadata (meta_…)")
    found = sorted(file for file in data.iterdir() if file.name.endswith(_SUFFIXES))
    metadata = [file for file in found if file.name.startswith("meta_")]
    reviews = [file for file in found if not file.name.startswith("meta_")]
    if len(metadata) != 1 or len(reviews) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise BadDataset(f"{data} should hold one file of reviews and one of metadata (meta_…); found {names}")
    return reviews[0], metadata[0]


def _item_of(edition: _Edition) -> Callable[[Fields], tuple[Any, ...]]:
    def item(fields: Fields) -> tuple[Any, ...]:
        return (
            _id(fields.get(edition.item)),
            plain_list(fields.get("title")),
            _brand(fields.get(edition.brand)),
            _shelf(fields.get(edition.shelves)) or plain_list(fields.get("main_category")),
            plain_list(fields.get("description")),
            _price(fields.get("price")),
        )

    return item


def _event_of(edition: _Edition) -> Callable[[Fields], tuple[Any, ...]]:
    user, item, stars, time = edition.review
    to_microseconds = 1_000_000 // edition.ticks

    def event(fields: Fields) -> tuple[Any, ...]:
        moment = fields.get(time)
        return (
            _id(fields.get(user)),
            _id(fields.get(item)),
            _number(fields.get(stars)),
            moment * to_microseconds if isinstance(moment, int) else None,
        )

    return event


def _id(value: object) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _brand(value: object) -> str | None:
    text = plain_list(value)
    return plain_cell(_BY.sub("", text)) if text else None


def _shelf(levels: object) -> str | None:
    if not isinstance(levels, list):
        return None
    named = [text for level in levels if isinstance(level, str) and (text := plain_cell(level))]
    return named[min(_SHELF_LEVEL, len(named) - 1)] if named else None


def _price(value: object) -> float | None:
    """Return a price; None for a range, and for anything else than a number of dollars."""
    if isinstance(value, str):
        found = _PRICE.match(value.strip())
        return float(found.group(1).replace(",", "")) if found else None
    return _number(value)


def _clean_items(items: RowFilter) -> None:
    items.drop("unreadable", "The line is no JSON object.", ~pl.col(READABLE))
    items.drop("no_id", "The product has no id.", pl.col("item_id").is_null())
    items.drop("no_title", "The product has no title.", pl.col("title").is_null())
    items.drop("script", "The title is a piece of a page's script.", pl.col("title").str.contains(_SCRIPT))
    again = ~pl.col("item_id").is_first_distinct()
    items.drop("repeated_id", "A product with this id came before; the first one stays.", again)
    impossible = (pl.col("price") < 0) | ~pl.col("price").is_finite()
    items.frame = items.frame.with_columns(pl.when(~impossible).then("price").alias("price"))


def _clean_events(events: RowFilter, items: pl.DataFrame) -> None:
    events.drop("unreadable", "The line is no JSON object.", ~pl.col(READABLE))
    missing = pl.any_horizontal(pl.col("user_id", "item_id", "value", "timestamp").is_null())
    events.drop("incomplete", "User, product, stars or time is missing.", missing)
    possible = pl.col("value").is_between(_LOWEST, _HIGHEST)
    events.drop("impossible_rating", f"Stars are {_LOWEST} to {_HIGHEST}.", ~possible)
    known = pl.col("item_id").is_in(items["item_id"].implode())
    events.drop("unknown_item", "The metadata has no usable product of this id.", ~known)
    again = ~pl.struct("user_id", "item_id", "timestamp").is_first_distinct()
    events.drop("repeated", "The same user reviewed the same product at the same time before.", again)


def _adapter(edition: _Edition) -> Adapter:
    return Adapter(
        name=f"amazon-{edition.year}",
        description=f"Amazon Reviews {edition.year}: a folder with a category's reviews and its meta_ file, JSON Lines",
        licence=f"Amazon Reviews {edition.year}, McAuley Lab (no licence stated; cite the paper, research use)",
        prepare=partial(_prepare, edition),
    )


ADAPTER_2018: Final = _adapter(_2018)


ADAPTER_2023: Final = _adapter(_2023)
