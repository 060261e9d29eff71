"""Quotes that swallow lines."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.dialects import Dialect
from pipeline.data.files.open_quotes import refuse_open_quotes


def _check(text: str, skipped: int = 0) -> None:
    refuse_open_quotes(io.StringIO(text, newline=""), Dialect(",", skipped), 3, Path("items.csv"))


def test_a_quote_that_another_one_closes_many_lines_below_is_refused():
    """The text is sound, and its lines are rows: the message names the first and the last."""
    with pytest.raises(BadDataset, match=r"items\.csv, line 5: a quote opens and swallows the lines up to 7; close it"):
        _check('id,title,p\n1,a,2\n3,"Tea,5\n4,b,6\n6,12",6\n7,x,1\n', skipped=2)


@pytest.mark.parametrize(
    "text",
    [
        'id,title,p\n1,a,2\n2,"two\nlines",3\n',
        'id,title,p\n1,a,2\n2,b,"red, green\nall of it, and, more"\n',
        'id,title,p\n1,a,2\n2,"1, 2, 3\nready, steady, go",4\n',
    ],
)
def test_texts_of_several_lines_are_no_rows(text: str):
    """Their lines begin as no cell of the first column does, or have other numbers of cells."""
    _check(text)


def test_a_quote_that_nothing_closes_is_refused():
    """It swallows the rest of the file."""
    with pytest.raises(BadDataset, match="line 2: a quote opens and swallows the lines up to 4"):
        _check('id,title,p\n1,"a,2\n2,b,3\n3,c,4\n')
