"""The catalogue of a release."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from common.errors import BadRelease
from common.release.catalogue import SCHEMA, Catalogue


def table_of(*item_ids: str) -> pa.Table:
    """Return a catalogue's table; item n has n tokens."""
    rows = [
        {
            "item_id": item_id,
            "title": f"Title {item_id}",
            "brand": None,
            "category": "mugs",
            "description": "",
            "price": 1.5,
            "language": "en",
            "available": True,
            "text": f"Text {item_id}",
            "token_ids": list(range(number)),
        }
        for number, item_id in enumerate(item_ids)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA).append_column("colour", pa.array(["red"] * len(rows), pa.string()))


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """Return a catalogue of three items, written and mapped again."""
    file = tmp_path / "catalogue.arrow"
    Catalogue(table_of("a", "b", "c")).save(file)
    return Catalogue.open(file)


def test_items_are_found_by_id(catalogue: Catalogue):
    """Rows are found by id, one or many at once, and unknown ids are reported as unknown."""
    assert len(catalogue) == 3
    assert catalogue.row_of("b") == 1
    assert catalogue.row_of("z") is None
    np.testing.assert_array_equal(catalogue.rows_of(["c", "z", "a"]), [2, -1, 0])
    assert catalogue.rows_of([]).shape == (0,)


def test_texts_and_titles_are_python_values(catalogue: Catalogue):
    """Texts and titles are plain Python strings."""
    assert (catalogue.text(2), catalogue.title(0)) == ("Text c", "Title a")


def test_token_ids_are_each_items_own(catalogue: Catalogue):
    """Every item has its own tokens, also where it has none."""
    assert [catalogue.token_ids(row).tolist() for row in range(3)] == [[], [0], [0, 1]]


def test_token_ids_hold_for_a_slice_in_chunks():
    """A table that is a slice of several chunks has the same tokens as the whole."""
    whole = pa.concat_tables([table_of("a", "b", "c"), table_of("d", "e")])
    sliced = Catalogue(whole.slice(1, 3))
    assert [sliced.token_ids(row).tolist() for row in range(3)] == [[0], [0, 1], []]


def test_attributes_are_what_items_may_be_filtered_by(catalogue: Catalogue):
    """Columns of the shop's own are attributes; ids, texts and tokens are none."""
    assert catalogue.attributes() == ["brand", "category", "price", "language", "available", "colour"]


def test_an_empty_catalogue_is_one():
    """A catalogue without items opens and finds nothing."""
    empty = Catalogue(table_of())
    assert (len(empty), empty.row_of("a")) == (0, None)


def test_a_missing_column_is_named():
    """A catalogue that lacks a column is BadRelease and names it."""
    with pytest.raises(BadRelease, match="token_ids"):
        Catalogue(table_of("a").drop_columns(["token_ids"]))


def test_an_item_that_comes_twice_is_refused():
    """Two items of one id are BadRelease: one of them could never be found."""
    with pytest.raises(BadRelease, match="more than once"):
        Catalogue(table_of("a", "b", "a"))


@pytest.mark.parametrize("content", [b"", b"not arrow", None])
def test_a_file_that_is_no_arrow_file_is_refused(tmp_path: Path, content: bytes | None):
    """An empty, a foreign or a missing file is BadRelease and names the path."""
    file = tmp_path / "catalogue.arrow"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadRelease, match=r"catalogue\.arrow"):
        Catalogue.open(file)
