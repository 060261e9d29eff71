"""Tables in JSON files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.json_tables import read_json_table

FILE = Path("items.json")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('[{"id": 7, "price": 3.50}, {"id": "007", "tags": ["a", "b"], "new": true}]', False),
        ('{"products": [{"id": 7, "price": 3.50}, {"id": "007", "tags": ["a", "b"], "new": true}]}', False),
        ('{"id": 7, "price": 3.50}\n\n{"id": "007", "tags": ["a", "b"], "new": true}\n', True),
        ('{"id": 7, "price": 3.50}\n{"id": "007", "tags": ["a", "b"], "new": true}\n', False),
    ],
)
def test_objects_become_rows_of_text(text: str, lines: bool):
    """Numbers stay as they were written, lists stay JSON, and a key that an object lacks is an empty cell."""
    table = read_json_table(text, FILE, lines=lines)
    assert table.columns == ["id", "price", "tags", "new"]
    assert table.rows() == [("7", "3.50", None, None), ("007", None, '["a", "b"]', "true")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", r"items\.json, row 1: '1' is no object"),
        ('{"id": 1}\nnonsense\n', r"items\.json, line 2: no JSON"),
        ("[]", r"items\.json holds no JSON objects"),
        ('"text"', r"items\.json holds str; it should be a list of objects"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(text: str, message: str):
    """The message names file, line and cell."""
    with pytest.raises(BadDataset, match=message):
        read_json_table(text, FILE, lines=False)
