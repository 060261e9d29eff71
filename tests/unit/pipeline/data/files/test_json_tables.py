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


def test_fields_of_objects_are_columns_of_their_own():
    """Fields of fields too; an object stays as it is if a column has the name of its field."""
    text = '[{"a": {"b": {"c": 1}, "d": []}, "e": {}}, {"x.y": 2, "x": {"y": 3}}]'
    table = read_json_table(text, FILE, lines=False)
    assert table.columns == ["a.b.c", "a.d", "e", "x.y", "x"]
    assert table.rows() == [("1", "[]", "{}", None, None), (None, None, None, "2", '{"y": "3"}')]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", r"items\.json, row 1: '1' is no object"),
        ('{"id": 1}\nnonsense\n', r"items\.json, line 2: no JSON"),
        ("[]", r"items\.json holds no JSON objects"),
        ("[" * 100_000, r"items\.json: no JSON"),
        ('[{"id": 1},\n{"id', r"items\.json: no JSON .*line 2"),
        ('"text"', r"items\.json holds str; it should be a list of objects"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(text: str, message: str):
    """The message names file, line and cell."""
    with pytest.raises(BadDataset, match=message):
        read_json_table(text, FILE, lines=False)


def test_lists_of_an_object_are_columns():
    """If all are of one length; pandas writes tables so."""
    assert read_json_table('{"id": [1, 2], "title": ["a", null]}', FILE, lines=False).rows() == [
        ("1", "a"),
        ("2", None),
    ]


def test_half_a_pair_of_surrogates_is_replaced():
    """JSON can escape what no text can hold."""
    assert read_json_table('[{"title": "x\\ud83d"}]', FILE, lines=False).rows() == [("x?",)]
