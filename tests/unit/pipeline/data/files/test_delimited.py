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
    """They are left out, since their cells match no column; short lines end in empty cells."""
    found = _read(tmp_path, "id,title\n1,a,b\n2\n\n3,c\n")
    assert found.frame.rows() == [("2", None), ("3", "c")]
    assert (found.ragged, found.examples) == (1, ("line 2: 1,a,b",))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('id,title\n1,"5 inch\n2,b\n3,c\n', "line 2: a quote opens and swallows the lines up to 4"),
        ('id,title\n0,a\n1,"5 inch\n2,b\n3,"7 inch\n', "line 3: a quote opens and swallows the lines up to 5"),
        ('id,title\n1,"5 inch\n2,b,c\n', "line 2: a quote opens"),
    ],
)
def test_a_quote_that_nothing_closes_is_refused(tmp_path: Path, text: str, place: str):
    """It would make one cell of the lines that follow."""
    with pytest.raises(BadDataset, match=rf"items\.csv, {place}"):
        _read(tmp_path, text)


def test_delimiters_at_the_ends_of_lines_are_no_cells(tmp_path: Path):
    """Some exports end each row with one, but not the heading."""
    found = _read(tmp_path, "id,title\n1,a,\n2,b,,\n")
    assert (found.frame.rows(), found.ragged) == ([("1", "a"), ("2", "b")], 0)


def test_decimal_commas_in_every_line_are_told(tmp_path: Path):
    """No row is left, and the message shows one."""
    with pytest.raises(
        BadDataset, match=r"each line has more cells than the 2 of the heading, such as 'line 2: 1,2,5'"
    ):
        _read(tmp_path, "id,price\n1,2,5\n2,3,5\n")


def test_blank_lines_and_marks_before_the_heading_go(tmp_path: Path):
    """The heading is the first line that is not empty, also after a second byte order mark."""
    assert _read(tmp_path, "\n\nid,title\n1,a\n").frame.rows() == [("1", "a")]
    assert _read(tmp_path, "\ufeff\ufeffid,title\n1,a\n").frame.columns == ["id", "title"]


def test_long_cells_are_read_exactly_too(tmp_path: Path):
    """Python's csv takes at most 128 KiB otherwise."""
    long = "line\n" * 50_000
    found = _read(tmp_path, f'id,title\n1,"{long}"\n2,b,c\n3,5" pan\n').frame
    assert found.rows() == [("1", long), ("3", '5" pan')]


@pytest.mark.parametrize("text", ["id,title\r1,a\r2,b\n3,c\n", 'id,title\r1,a\r2,"b"\r3,c\r'])
def test_a_carriage_return_may_end_lines(tmp_path: Path, text: str):
    """If it ends the heading, it ends lines, whatever else does."""
    assert _read(tmp_path, text).frame.rows() == [("1", "a"), ("2", "b"), ("3", "c")]


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
