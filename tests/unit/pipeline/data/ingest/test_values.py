"""Numbers, flags and empty cells as shops write them."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.ingest.values import DecimalMark, as_ids, as_text, by_slices, read_flags, read_numbers


def _numbers(*cells: object, mark: DecimalMark = "auto") -> list[float | None]:
    return read_numbers(pl.Series("price", cells), mark).values.to_list()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("263.15 USD", 263.15),
        ("$1,204.00", 1204.0),
        ("€3.50", 3.5),
        ("CHF 1'204.50", 1204.5),
        ("1 204.50", 1204.5),
        ("¥1,204", 1204.0),
        ("3元", 3.0),
        ("-2", -2.0),
        ("1e3", 1000.0),
        ("12,-", 12.0),
        (".5", 0.5),
        ("12,34,567.50", 1234567.5),
        ("(5)", -5.0),
        ("($1,204.50)", -1204.5),
        ("Rs. 500", 500.0),
        ("١٢", 12.0),
        ("12 eur", 12.0),
    ],
)
def test_numbers_with_currencies_and_thousands(cell: str, expected: float):
    """What stands around a number and between its thousands goes."""
    assert _numbers(cell) == [expected]


def test_a_decimal_comma_is_found_for_a_column():
    """One cell that only a decimal comma explains decides for cells that could be thousands."""
    assert _numbers("1.204,00", "3,50", "1.204", "12.5") == [1204.0, 3.5, 1204.0, 12.5]
    assert _numbers("1,204", "3.50") == [1204.0, 3.5]
    assert _numbers("1.204", mark=",") == [1204.0]


def test_a_comma_after_a_leading_zero_is_a_decimal_mark():
    """No thousands begin with a zero, so it decides for the other cells of the column."""
    assert _numbers("0,999", "1,299") == [0.999, 1.299]


@pytest.mark.parametrize("cell", ["5 kg", "5%", "5p", "250 ml", "2 pcs", "ab 10 €", "free", "5-", "19,99"])
def test_numbers_of_something_else_are_unreadable(cell: str):
    """What is no currency may be a weight or a share; a decimal comma among points may be a thousand."""
    read = read_numbers(pl.Series([cell, "1.50", "2.75"]))
    assert (read.values.to_list(), read.unreadable.to_list()) == ([None, 1.5, 2.75], [True, False, False])


@pytest.mark.parametrize("cell", ["1 5", "2 50", "Q1 5", "10 20", "1'20"])
def test_spaces_part_only_groups_of_three_digits(cell: str):
    """Two numbers in a cell are no number."""
    read = read_numbers(pl.Series([cell]))
    assert (read.values.to_list(), read.unreadable.to_list()) == ([None], [True])


def test_dates_are_no_numbers():
    """A spreadsheet that made dates of prices is shown."""
    assert read_numbers(pl.Series([date(2024, 1, 5)])).unreadable.to_list() == [True]


def test_numbers_as_flags():
    """A stock below zero is none, and NaN is an empty cell."""
    assert read_flags(pl.Series([float("nan"), 2.0, -1.0])).values.to_list() == [None, True, False]
    assert read_flags(pl.Series(["-1", "3"])).values.to_list() == [False, True]
    assert read_flags(pl.Series([None, None])).values.to_list() == [None, None]


def test_words_for_nothing_are_empty_and_other_words_unreadable():
    """n/a is an empty cell; call us is a cell that is told."""
    read = read_numbers(pl.Series(["n/a", "NaN", "\\N", "null", "", "call us", "4.99 - 5.99", "inf"]))
    assert read.values.to_list() == [None] * 8
    assert read.unreadable.to_list() == [False] * 5 + [True] * 3


@pytest.mark.parametrize(
    "cell",
    [
        "in_stock",
        "In Stock",
        "yes",
        "1",
        "TRUE",
        "https://schema.org/InStock",
        "https://schema.org/LimitedAvailability",
        "17",
        "有货",
    ],
)
def test_yes(cell: str):
    """Google's, schema.org's and everybody's words for there."""
    assert read_flags(pl.Series([cell])).values.to_list() == [True]


@pytest.mark.parametrize("cell", ["out of stock", "no", "0", "False", "sold out", "OutOfStock", "discontinued"])
def test_no(cell: str):
    """And for gone."""
    assert read_flags(pl.Series([cell])).values.to_list() == [False]


def test_other_words_are_neither():
    """A word that is neither is told, an empty cell is not."""
    read = read_flags(pl.Series(["maybe", None, "n/a"]))
    assert (read.values.to_list(), read.unreadable.to_list()) == ([None] * 3, [True, False, False])


def test_ids_stay_what_they_are():
    """Leading zeros, points and spaces inside stay; only a fraction of every id, which an empty cell made, goes."""
    assert as_ids(pl.Series(["007", "7", "100.10", " a "])).to_list() == ["007", "7", "100.10", "a"]
    assert as_ids(pl.Series(["17850.0", "12.0", None])).to_list() == ["17850", "12", None]
    assert as_text(pl.Series([17850.0, None])).to_list() == ["17850", None]
    assert as_ids(pl.Series([1e19])).to_list() == ["10000000000000000000"]


@settings(deadline=None)  # the first example compiles the patterns
@given(
    st.lists(st.decimals(0, 10**7, places=2), min_size=1, max_size=20),
    st.sampled_from(["{:.2f}", "{:,.2f}", "€{:,.2f}", "{:,.2f} USD"]),
    st.booleans(),
)
def test_what_was_written_is_read_back(values: list[object], form: str, comma: bool):
    """Any amount in any form is the same again, if it has cents."""
    cells = [form.format(value) for value in values]
    if comma:
        cells = [cell.translate(str.maketrans(",.", ".,")) for cell in cells]
    assert _numbers(*cells) == [pytest.approx(float(str(value))) for value in values]


def test_columns_are_read_in_slices(monkeypatch: pytest.MonkeyPatch):
    """A long column is read a part at a time, and equals one that was read whole."""
    cells = pl.Series("at", [" a ", "NA", None, "b", "", "2024-03-01 10:00:00", "c"])
    whole = as_text(cells)
    monkeypatch.setattr("pipeline.data.ingest.values._SLICE_ROWS", 2)
    assert as_text(cells).equals(whole, check_names=True)
    parts: list[int] = []
    by_slices(lambda part: parts.append(len(part)) or part, cells)
    assert parts == [2, 2, 2, 1]
