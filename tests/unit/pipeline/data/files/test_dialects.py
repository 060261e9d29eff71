"""How delimited texts are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.files.delimited import DelimitedTable, read_delimited
from pipeline.data.files.dialects import Dialect, find_dialect
from pipeline.data.files.text_files import read_text_file


def _file(folder: Path, text: str) -> Path:
    file = folder / "items.csv"
    file.write_text(text, encoding="utf-8", newline="")
    return file


def _dialect(folder: Path, text: str) -> Dialect:
    file = _file(folder, text)
    return find_dialect(read_text_file(file), file, None, heading=True)


def _read(folder: Path, text: str) -> DelimitedTable:
    file = _file(folder, text)
    return read_delimited(read_text_file(file), file)


def test_quotes_with_a_backslash(tmp_path: Path):
    """What MySQL and PHP write as backslash and quote is a quote; two backslashes are one."""
    text = 'id,title\n1,"6\\" pipe, long"\n2,"C:\\\\a, b"\n3,c\n'
    assert _dialect(tmp_path, text).is_escaped
    assert _read(tmp_path, text).frame.rows() == [("1", '6" pipe, long'), ("2", "C:\\a, b"), ("3", "c")]


@pytest.mark.parametrize("text", ['id,title\n1,"C:\\"\n2,b\n', 'id,title\n1,6\\" pipe\n'])
def test_a_backslash_before_a_closing_quote_is_text(tmp_path: Path, text: str):
    """A folder's name ends in one, and a cell without quotes marks none."""
    assert not _dialect(tmp_path, text).is_escaped
    assert "\\" in _read(tmp_path, text).frame["title"][0]


@pytest.mark.parametrize("text", ['id, title, p\n1, "a, b", 2\n2, "c", 3\n', 'id,title,p\n1, "a, b",2\n2,  "c",3\n'])
def test_spaces_before_an_opening_quote(tmp_path: Path, text: str):
    """The quotes hold a cell all the same."""
    assert _read(tmp_path, text).frame.rows() == [("1", "a, b", "2"), ("2", "c", "3")]


def test_spaces_before_quotes_inside_of_a_cell_are_text(tmp_path: Path):
    """A quote that is part of a text may follow a comma and a space."""
    text = 'id,title\n1,"so, ""fresh"" tea"\n'
    assert not _dialect(tmp_path, text).is_spaced
    assert _read(tmp_path, text).frame.rows() == [("1", 'so, "fresh" tea')]


@pytest.mark.parametrize(
    ("before", "count"),
    [
        ("sep=;\n", 1),
        ("SEP=;\r\n", 1),
        ("# exported by a shop\n# on 1 March\n", 2),
        ("# a; b; c\n\n", 2),
        ("Products of my shop\n\n", 2),
        ("", 0),
    ],
)
def test_lines_before_the_heading(tmp_path: Path, before: str, count: int):
    """The name of the delimiter, comments and titles are no rows."""
    table = _read(tmp_path, f"{before}id;title;p\n1;a;2,5\n2;b;3\n")
    assert (table.frame.columns, table.frame.rows()) == (["id", "title", "p"], [("1", "a", "2,5"), ("2", "b", "3")])
    assert table.skipped == count


def test_a_heading_may_begin_with_the_mark_of_comments(tmp_path: Path):
    """It has as many cells as the rows, and no space behind the mark."""
    assert _read(tmp_path, "# export\n#id,title\n1,a\n").frame.columns == ["#id", "title"]


def test_a_list_of_texts_has_no_title(tmp_path: Path):
    """Commas in texts make no table of two columns below a title."""
    table = _read(tmp_path, "query\ntea\ngreen\n")
    assert (table.frame.columns, table.skipped) == (["query"], 0)


def test_a_heading_that_a_delimiter_parts_is_no_title(tmp_path: Path):
    """Commas in the cells of a table with tabs may be as many in each row."""
    table = _read(tmp_path, "id\ttitle\tp\n1\tTea, green\t2,5\n2\tPot, blue\t3,5\n")
    assert (table.delimiter, table.skipped, table.frame.height) == ("\t", 0, 2)
