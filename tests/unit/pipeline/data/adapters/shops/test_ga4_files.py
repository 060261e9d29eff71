"""Files of GA4's export become one row for each item of each event."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pipeline.data.adapters.shops.ga4_files import is_json_export, read_events

LINE = (
    '{"event_name": "view_item", "event_timestamp": "1", "user_pseudo_id": "d", '
    '"event_params": [{"key": "ga_session_id", "value": {"int_value": "9"}}], '
    '"ecommerce": {"transaction_id": "T"}, "items": [{"item_id": 7, "price": 1.5}, {"item_id": "008"}]}\n'
)
WANTED = ("event_name", "session", "transaction", "item_id", "price")


def test_an_event_has_a_row_for_each_item(tmp_path: Path):
    """All as text; an event without items has one row."""
    (tmp_path / "e.jsonl").write_text(LINE + '{"event_name": "scroll", "event_timestamp": "2", "items": []}\n')
    rows, notes = read_events(tmp_path)
    assert rows.select(WANTED).rows() == [
        ("view_item", "9", "T", "7", "1.5"),
        ("view_item", "9", "T", "008", None),
        ("scroll", None, None, None, None),
    ]
    assert notes == []


def test_json_in_cells_of_a_flat_table(tmp_path: Path):
    """As BigQuery's TO_JSON_STRING writes lists; session and transaction have columns of their own there."""
    cell = '[{"item_id": "007", "price": 1.5}]'
    columns = {"event_name": ["purchase", "scroll"], "event_timestamp": ["1", "2"], "items": [cell, "broken"]}
    frame = pl.DataFrame({**columns, "ga_session_id": ["9", None], "transaction_id": ["T", None]})
    frame.write_csv(tmp_path / "e.csv")
    rows, _ = read_events(tmp_path / "e.csv")
    assert rows.select(WANTED).rows() == [("purchase", "9", "T", "007", "1.5"), ("scroll", None, None, None, None)]


def test_parquet_without_all_fields(tmp_path: Path):
    """Fields and columns that an export lacks are empty."""
    items = [[{"item_id": "007"}], []]
    pl.DataFrame({"event_name": ["view_item", "scroll"], "event_timestamp": [1, 2], "items": items}).write_parquet(
        tmp_path / "e.parquet"
    )
    rows, _ = read_events(tmp_path)
    assert rows.select(WANTED).rows() == [
        ("view_item", None, None, "007", None),
        ("scroll", None, None, None, None),
    ]


def test_an_export_in_json_is_known_by_its_beginning(tmp_path: Path):
    """Other JSON and other files are none."""
    (tmp_path / "a.json").write_text(LINE)
    (tmp_path / "b.json").write_text('{"name": "x"}')
    (tmp_path / "c.txt").write_text(LINE)
    assert [file.name for file in sorted(tmp_path.iterdir()) if is_json_export(file)] == ["a.json"]
