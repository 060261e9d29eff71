"""A dataset keeps what it is given, in canonical form, and refuses what it cannot use with a message that helps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import EVENTS, BadDataset, canonical

MakeDataset = Callable[..., Dataset]


def test_a_saved_dataset_is_the_same_when_loaded(tmp_path: Path, make_dataset: MakeDataset):
    """Saving and loading keeps tables, report and fingerprint."""
    judgements = pl.DataFrame({"query": ["loaf"], "item_id": ["b"], "relevance": [2]})
    dataset = make_dataset(judgements=judgements)
    dataset.save(tmp_path / "shop")
    loaded = Dataset.load(tmp_path / "shop")
    assert loaded.report == dataset.report
    assert loaded.fingerprint() == dataset.fingerprint()
    for name, table in dataset.tables().items():
        assert_frame_equal(loaded.tables()[name], table)


def test_items_have_every_optional_column_and_missing_cells_stay_null(make_dataset: MakeDataset):
    """What the source does not say is null, never filled."""
    dataset = make_dataset()
    assert dataset.items.filter(item_id="c")["price"].to_list() == [None]
    assert dataset.items["brand"].to_list() == [None, None, None]
    assert dataset.items.schema["available"] == pl.Boolean


def test_the_canonical_order_is_by_id_and_by_user_oldest_first(make_dataset: MakeDataset):
    """Items are sorted by id, events by user and time, whatever order they came in."""
    dataset = make_dataset()
    assert dataset.items["item_id"].to_list() == ["a", "b", "c"]
    assert dataset.events["item_id"].to_list() == ["a", "b", "c", "a"]


def test_the_fingerprint_is_of_content_not_of_layout(tmp_path: Path, make_dataset: MakeDataset, events: pl.DataFrame):
    """Row groups, row order and column order leave the fingerprint as it is."""
    dataset = make_dataset()
    dataset.save(tmp_path / "shop")
    dataset.events.write_parquet(tmp_path / "shop/events.parquet", row_group_size=1, compression="uncompressed")
    shuffled = make_dataset(events=events.reverse().select(sorted(events.columns)))
    assert Dataset.load(tmp_path / "shop").fingerprint() == dataset.fingerprint() == shuffled.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        pl.col("title").replace({"Bread": "Breads"}),
        pl.col("price").replace({2.5: 2.6}),
        pl.col("price").replace({2.5: None}),
        pl.col("price").fill_null(0.0),
        pl.lit("").alias("brand"),
        pl.lit(value=False).alias("available"),
        pl.lit("x").alias("colour"),
    ],
)
def test_any_changed_cell_changes_the_fingerprint(make_dataset: MakeDataset, items: pl.DataFrame, change: pl.Expr):
    """A changed, emptied or filled cell or a further column gives another fingerprint."""
    assert make_dataset(items=items.with_columns(change)).fingerprint() != make_dataset().fingerprint()


def test_the_fingerprint_tells_where_one_text_ends_and_the_next_begins(make_dataset: MakeDataset, items: pl.DataFrame):
    """Letters that move from one cell to the next change the fingerprint."""
    one = items.with_columns(pl.Series("brand", ["z", "xy", None]))
    other = items.with_columns(pl.Series("brand", ["yz", "x", None]))
    assert make_dataset(items=one).fingerprint() != make_dataset(items=other).fingerprint()


def test_a_missing_column_is_named_with_the_file_and_the_columns_found(make_dataset: MakeDataset, items: pl.DataFrame):
    """The message names the column, the file and what was found instead."""
    with pytest.raises(BadDataset, match=r"items\.parquet lacks the column 'title'.*found are item_id, name, price"):
        make_dataset(items=items.rename({"title": "name"}))


def test_a_missing_column_in_a_loaded_file_is_named_with_its_folder(tmp_path: Path, make_dataset: MakeDataset):
    """A loaded dataset's message says which folder's file lacks the column."""
    dataset = make_dataset()
    dataset.save(tmp_path / "shop")
    dataset.events.drop("user_id").write_parquet(tmp_path / "shop/events.parquet")
    with pytest.raises(BadDataset, match=r"shop: events\.parquet lacks the column 'user_id'"):
        Dataset.load(tmp_path / "shop")


def test_events_need_a_time_or_a_position(make_dataset: MakeDataset, events: pl.DataFrame):
    """Events without any order are refused; a position will do."""
    with pytest.raises(BadDataset, match="lacks the column 'timestamp'"):
        make_dataset(events=events.drop("timestamp"))
    by_position = make_dataset(events=events.drop("timestamp").with_row_index("position"))
    assert by_position.order_column == "position"


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("item_id", [1, 2, 3], r"'item_id' is of type Int64, it must be String"),
        ("price", ["1", "2", "3"], r"'price' is of type String, it must be Float64"),
        ("colours", [["red"], ["red"], []], r"'colours' is of type List"),
        ("title", ["Bread", None, " "], r"'title' is empty in 2 rows"),
        ("price", [1.0, float("nan"), 2.0], r"'price' holds NaN or infinity"),
        ("price", [1.0, -2.0, 2.0], r"'price' holds negative numbers"),
        ("item_id", ["a", "a", "c"], r"1 values of 'item_id' occur more than once, such as 'a'"),
    ],
)
def test_items_that_cannot_be_used_are_refused(
    make_dataset: MakeDataset, items: pl.DataFrame, column: str, values: list[object], message: str
):
    """Wrong types, empty or impossible cells and repeated ids are refused by column."""
    with pytest.raises(BadDataset, match=rf"items\.parquet: .*{message}"):
        make_dataset(items=items.with_columns(pl.Series(column, values)))


def test_events_of_unknown_items_are_refused_by_name(make_dataset: MakeDataset, events: pl.DataFrame):
    """The message counts the unknown items and shows some."""
    with pytest.raises(BadDataset, match=r"events\.parquet names 1 items that items\.parquet lacks, such as 'zz'"):
        make_dataset(events=events.with_columns(pl.col("item_id").replace({"a": "zz"})))


def test_a_repeated_event_id_is_refused(make_dataset: MakeDataset, events: pl.DataFrame):
    """Event ids are unique; events without one are not compared."""
    make_dataset(events=events.with_columns(pl.Series("event_id", ["e1", "e2", None, None])))
    with pytest.raises(BadDataset, match="'event_id' occur more than once, such as 'e1'"):
        make_dataset(events=events.with_columns(pl.Series("event_id", ["e1", "e1", None, None])))


def test_times_with_a_zone_become_utc(make_dataset: MakeDataset, events: pl.DataFrame):
    """A zoned time is kept as the same moment in UTC."""
    moment = pl.lit(datetime(2024, 1, 1, 12, tzinfo=UTC)).dt.convert_time_zone("Asia/Tokyo")
    stored = make_dataset(events=events.with_columns(moment.alias("timestamp"))).events["timestamp"][0]
    assert stored == datetime(2024, 1, 1, 12)  # noqa: DTZ001 - datasets have no zone


def test_a_folder_without_a_dataset_says_how_to_make_one(tmp_path: Path):
    """Loading an empty folder says what is missing and which command makes it."""
    with pytest.raises(BadDataset, match=r"has no items\.parquet; make one with `python -m pipeline prepare`"):
        Dataset.load(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path, make_dataset: MakeDataset):
    """A file that is no Parquet is named, and so is an unreadable report."""
    make_dataset().save(tmp_path / "shop")
    (tmp_path / "shop/report.json").write_text("{")
    with pytest.raises(BadDataset, match=r"shop: its report\.json cannot be read"):
        Dataset.load(tmp_path / "shop")
    (tmp_path / "shop/items.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadDataset, match=r"items\.parquet cannot be read as Parquet"):
        Dataset.load(tmp_path / "shop")


def test_saving_replaces_a_dataset_and_spares_everything_else(tmp_path: Path, make_dataset: MakeDataset):
    """An older dataset is replaced whole; a folder with other files is left alone."""
    make_dataset().save(tmp_path / "shop")
    (tmp_path / "shop/left-over").touch()
    make_dataset().save(tmp_path / "shop")
    assert sorted(file.name for file in (tmp_path / "shop").iterdir()) == [
        "events.parquet",
        "items.parquet",
        "report.json",
    ]
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letters").touch()
    with pytest.raises(BadDataset, match="home is not empty and is no dataset"):
        make_dataset().save(tmp_path / "home")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "shop"]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["u", "ü", "U", "u1", "u10", "u2"]),
            st.sampled_from("ab"),
            st.sampled_from(["view", "purchase"]),
            st.integers(0, 3),
            st.one_of(st.none(), st.sampled_from(["x", "", "y"]), st.text(max_size=3)),
        ),
        max_size=30,
    )
)
def test_rows_are_ordered_as_a_plain_sort_orders_them(rows: list[tuple[str, str, str, int, str | None]]):
    """Texts that are sorted by rank come in the order of their bytes, empty cells first."""
    names = ["user_id", "item_id", "event", "position", "session_id"]
    frame = pl.DataFrame(rows, dict(zip(names, [pl.String] * 3 + [pl.Int64, pl.String], strict=True)), orient="row")
    by = ["user_id", "position", "item_id", "event", "session_id"]
    assert canonical(frame, EVENTS).equals(
        frame.select("user_id", "item_id", "event", "position", "session_id").sort(by)
    )
