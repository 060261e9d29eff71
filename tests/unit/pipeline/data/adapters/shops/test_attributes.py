"""Attributes as pairs of name and value become columns."""

from __future__ import annotations

import polars as pl

from pipeline.data.adapters.shops.attributes import attribute_columns, column_name


def test_values_of_an_item_are_joined():
    """Each value once, in the order of the rows; empty ones are none."""
    pairs = pl.DataFrame(
        {
            "item_id": ["a", "a", "a", "a", "b"],
            "name": ["Size", "Size", "Size", "Colour", "Size"],
            "value": ["S", "M", "S", None, "L"],
        }
    )
    assert attribute_columns(pairs).to_dicts() == [{"item_id": "a", "size": "S, M"}, {"item_id": "b", "size": "L"}]


def test_only_common_attributes_become_columns():
    """A shop with hundreds of attributes keeps those that most items have."""
    names = [f"n{number:02}" for number in range(30)]
    pairs = pl.DataFrame({"item_id": ["a"] * 31, "name": [*names, "z"], "value": ["x"] * 31})
    common = pl.DataFrame({"item_id": ["b"], "name": ["z"], "value": ["x"]})
    assert attribute_columns(pl.concat([pairs, common])).columns == ["item_id", "z", *names[:19]]


def test_no_attribute_takes_the_name_of_a_datasets_column():
    """Names are lower case with underscores."""
    assert [column_name(name) for name in ("Farbe / Ton", "Brand", "Größe")] == [
        "farbe_ton",
        "brand_attribute",
        "größe",
    ]
