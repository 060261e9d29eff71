"""JSON Lines are read line by line, whatever the lines hold."""

from __future__ import annotations

import bz2
import gzip
import zipfile
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files import json_lines
from pipeline.data.files.json_lines import Fields, read_json_lines, read_json_rows


def read(file: Path) -> pl.DataFrame:
    """Read the field a."""

    def pick(fields: Fields) -> tuple[object]:
        return (fields.get("a"),)

    return read_json_lines(file, {"a": pl.String}, pick, ("a",))


def test_lines_that_are_no_objects_become_rows_that_can_be_counted(tmp_path: Path):
    """A broken line, a list and bytes that are no text are rows with empty cells, marked; blank lines are none."""
    (tmp_path / "x.jsonl").write_bytes(b'{"a": "1"}\n{"a": \n\n[1]\n\xff\xfe\n{"b": 2}\n')
    found = read(tmp_path / "x.jsonl")
    assert found.rows() == [("1", True), (None, False), (None, False), (None, False), (None, True)]


def test_gzip_and_several_frames_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A compressed file reads like a plain one, also where it fills several frames."""
    monkeypatch.setattr(json_lines, "_ROWS_A_FRAME", 2)
    with gzip.open(tmp_path / "x.jsonl.gz", "wt") as stream:
        stream.writelines(f'{{"a": "{number}"}}\n' for number in range(5))
    assert read(tmp_path / "x.jsonl.gz")["a"].to_list() == list("01234")


def test_other_compressions_are_read(tmp_path: Path):
    """An archive with one file, and bzip2."""
    with zipfile.ZipFile(tmp_path / "x.jsonl.zip", "w") as archive:
        archive.writestr("x.jsonl", '{"a": "1"}\n{"a": "2"}')
    (tmp_path / "x.jsonl.bz2").write_bytes(bz2.compress(b'{"a": "3"}\n'))
    assert read(tmp_path / "x.jsonl.zip")["a"].to_list() == ["1", "2"]
    assert read(tmp_path / "x.jsonl.bz2")["a"].to_list() == ["3"]


def test_a_file_of_another_kind_is_told_at_once(tmp_path: Path):
    """The message names the missing field and those that are there."""
    (tmp_path / "x.jsonl").write_text('{"b": 1, "c": 2}\n')
    with pytest.raises(BadDataset, match=r"x\.jsonl lacks the field 'a'; the first line has b, c"):
        read(tmp_path / "x.jsonl")


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"[1]\n"])
def test_a_file_without_objects_is_refused(tmp_path: Path, content: bytes):
    """CSV under the wrong name is no JSON Lines."""
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(BadDataset, match="holds no JSON objects, one a line"):
        read(tmp_path / "x.jsonl")


@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: str):
    """A download that broke off, or that is no gzip, is an error rather than fewer rows."""
    whole = gzip.compress(b'{"a": "1"}\n' * 1_000)
    (tmp_path / "x.jsonl.gz").write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"not gzip")
    with pytest.raises(BadDataset, match=r"x\.jsonl\.gz cannot be read: .*is it whole"):
        read(tmp_path / "x.jsonl.gz")


def test_an_empty_file_has_no_rows(tmp_path: Path):
    """Nothing in, nothing out, with the columns in place."""
    (tmp_path / "x.jsonl").write_text("")
    assert read(tmp_path / "x.jsonl").schema == {"a": pl.String, "readable": pl.Boolean}


def test_a_line_may_be_several_rows(tmp_path: Path):
    """Or none; a broken line is one row."""
    (tmp_path / "x.jsonl").write_text('{"a": ["1", "2"]}\n{"a": []}\n{\n')
    found = read_json_rows(tmp_path / "x.jsonl", {"a": pl.String}, lambda fields: [(a,) for a in fields["a"]], ("a",))
    assert found.rows() == [("1", True), ("2", True), (None, False)]
