"""What a reader should know of a file."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.files.file_note import FileNote


def test_what_is_out_of_the_ordinary_is_one_sentence_each():
    """The encoding with a text to judge it by, lost characters, lines left out; nothing of a plain file."""
    note = FileNote(
        Path("shop/a.csv"), "csv", "cp1252", ",", replaced=3, ragged=2, examples=("1,a,b",), skipped=1, example="Müsli"
    )
    assert note.sentences() == [
        "a.csv was read as cp1252, such as 'Müsli'; set encoding in a mapping if that looks wrong.",
        "a.csv has 3 characters that were lost before (U+FFFD).",
        "a.csv: 1 lines before the heading were left out.",
        "a.csv: 2 lines have more cells than the heading and were left out, such as '1,a,b'.",
    ]
    assert FileNote(Path("a.csv"), "csv", "utf-8", ",").sentences() == []
    assert FileNote(Path("a.csv"), "csv", "cp1252", ",", is_declared=True).sentences() == []
