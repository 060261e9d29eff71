"""Attributes of items that an export writes as pairs of a name and a value, as columns."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from pipeline.data.dataset.schema import ITEMS

_MAX_ATTRIBUTES: Final = 20
_RESERVED: Final = {*ITEMS.needed, *ITEMS.optional}


def attribute_columns(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each item and one column for each attribute; several values become one text, `S, M, L`.

    Only the attributes that most items have become columns. A name that is a column of datasets gets the ending
    `_attribute`.

    Args:
        pairs: Columns `item_id`, `name` and `value`.
    """
    named = pairs.drop_nulls().with_columns(pl.col("name").map_elements(column_name, return_dtype=pl.String))
    named = named.filter(pl.col("name") != "").unique(maintain_order=True)
    counted = named.group_by("name").agg(pl.col("item_id").n_unique().alias("items"))
    common = counted.sort(["items", "name"], descending=[True, False]).head(_MAX_ATTRIBUTES)["name"].to_list()
    joined = named.group_by("item_id", "name", maintain_order=True).agg(pl.col("value").str.join(", "))
    wide = named.select("item_id").unique(maintain_order=True)
    for name in common:
        of_name = joined.filter(pl.col("name") == name).select("item_id", pl.col("value").alias(name))
        wide = wide.join(of_name, on="item_id", how="left", maintain_order="left")
    return wide


def column_name(name: str) -> str:
    """Return the name of an attribute as a column: lower case, with underscores; never one of a dataset's columns."""
    plain = re.sub(r"\W+", "_", name.lower()).strip("_")
    return f"{plain}_attribute" if plain in _RESERVED else plain
