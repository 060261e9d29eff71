"""Questions of a table of one's own."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.data.dataset.schema import BadDataset
from pipeline.measurement.questions.question_table import read_questions


def test_given_questions_come_from_a_table(tmp_path: Path):
    """A row is a question; the same user may ask several."""
    rows = {"user_id": ["p", "p"], "history": [["a"], ["a", "b"]], "target": ["b", "c"]}
    pl.DataFrame(rows).write_parquet(tmp_path / "q.parquet")
    found = read_questions(tmp_path / "q.parquet", None, 1)
    assert [(q.key, q.group, q.history, q.relevant) for q in found.main] == [
        ("p#0", "p", ("a",), {"b": 1.0}),
        ("p#1", "p", ("a", "b"), {"c": 1.0}),
    ]


def test_a_table_of_something_else_is_refused(tmp_path: Path):
    """The missing column is named."""
    pl.DataFrame({"user_id": ["p"]}).write_parquet(tmp_path / "q.parquet")
    with pytest.raises(BadDataset, match="lacks the column 'history', 'target'"):
        read_questions(tmp_path / "q.parquet", None, 1)
