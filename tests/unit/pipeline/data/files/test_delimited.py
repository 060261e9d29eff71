"""Tables of delimited text."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.delimited import DelimitedTable, read_delimited
from pipeline.data.files.text_files import read_text_file


def _read(folder: Path, text: str, delimiter: str | None = None, name: str = "items.csv") -> DelimitedTable:
    file = folder / name
    file.write_text(text, encoding="utf-8", newline="")
    return read_delimited(read_text_file(file), file, delimiter)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "\x01"])
def test_delimiters_are_found(tmp_path: Path, delimiter: str):
    """The one that parts rows as it parts the heading, though cells hold others."""
    text = "\n".join(
        delimiter.join(row) for row in (("id", "title", "price"), ("1", '"a, b; c"', "2"), ("2", "d", "3"))
    )
    found = _read(tmp_path, text)
    assert (found.delimiter, found.frame.rows()) == (delimiter, [("1", "a, b; c", "2"), ("2", "d", "3")])


def test_cells_keep_zeros_quotes_and_lines(tmp_path: Path):
    """Every cell is text; quotes may hold line ends and doubled quotes, or be part of a cell."""
    found = _read(tmp_path, 'id,title\r\n007,"two\r\nlines"\r\n1,"5"" pan"\r\n').frame.rows()
    assert found == [("007", "two\r\nlines"), ("1", '5" pan')]
    assert _read(tmp_path, 'id,title\n007,5" pan\n1,b\n').frame.rows() == [("007", '5" pan'), ("1", "b")]


def test_lines_with_too_many_cells_are_counted_and_shown(tmp_path: Path):
    """They are left out, since their cells cannot be told apart; short lines end in empty cells."""
    found = _read(tmp_path, "id,title\n1,a,b\n2\n\n3,c\n")
    assert found.frame.rows() == [("2", None), ("3", "c")]
    assert (found.ragged, found.examples) == (1, ("line 2: 1,a,b",))


def test_names_of_columns(tmp_path: Path):
    """Space around a name goes, a column without a name too; a name that is there twice is refused."""
    assert _read(tmp_path, " id ,title [kg],\n1,2,\n").frame.columns == ["id", "title [kg]"]
    with pytest.raises(BadDataset, match=r"items\.csv, line 1: the column 'id' is named 2 times; rename one"):
        _read(tmp_path, "id,id\n1,2\n")


def test_one_column_and_no_row(tmp_path: Path):
    """A file of one column has no delimiter; an empty file is refused."""
    assert _read(tmp_path, "id\n1\n").frame.rows() == [("1",)]
    assert _read(tmp_path, "id,title\n").frame.height == 0
    with pytest.raises(BadDataset, match=r"items\.csv is empty"):
        _read(tmp_path, " \n")


def test_a_delimiter_can_be_declared(tmp_path: Path):
    """What is declared goes before what is found."""
    assert _read(tmp_path, "a:b,c\n1:2,3\n", ":").frame.rows() == [("1", "2,3")]


@pytest.mark.parametrize("text", ["007,a\n1,b\n", '007,a\n1,b\n2,"c" d,e\n'])
def test_a_file_without_a_heading_has_its_columns_given(tmp_path: Path, text: str):
    """The first row is data, also if a stray quote or a longer line needs the exact reader."""
    file = tmp_path / "log.dat"
    file.write_text(text)
    frame = read_delimited(read_text_file(file), file, ",", ("id", "title")).frame
    assert (frame.columns, frame.rows()) == (["id", "title"], [("007", "a"), ("1", "b")])


def test_a_file_without_a_heading_of_another_width_is_refused(tmp_path: Path):
    """The message names the file, the cells and the columns."""
    file = tmp_path / "log.dat"
    file.write_text("007\n")
    with pytest.raises(BadDataset, match=r"log\.dat, line 1 has 1 cells \('007'\) and not 2: id, title; use the file"):
        read_delimited(read_text_file(file), file, ",", ("id", "title"))
    file.write_text("")
    with pytest.raises(BadDataset, match=r"log\.dat is empty; it should begin with rows of id, title"):
        read_delimited(read_text_file(file), file, ",", ("id", "title"))
