"""Every row that is dropped is counted once, under the first reason that meets it."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.ingest.row_filter import RowFilter, filter_judgements, refuse_empty


@given(values=st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=40))
def test_the_counts_always_add_up(values: list[int | None]):
    """Rows in are rows out and all dropped ones, each under one reason; an undecided row stays."""
    cleaning = RowFilter(pl.DataFrame({"n": values}, schema={"n": pl.Int64}))
    cleaning.drop("negative", "Below zero.", pl.col("n") < 0)
    cleaning.drop("small", "Below two.", pl.col("n") < 2)
    report = cleaning.report()
    assert report.rows_in == len(values) == report.rows_out + sum(reason.rows for reason in report.dropped.values())
    assert report.dropped["negative"].rows == sum(1 for value in values if value is not None and value < 0)
    assert report.dropped["small"].rows == sum(1 for value in values if value in (0, 1))
    assert report.missing.get("n", 0) == values.count(None)


def test_dropped_rows_are_handed_out():
    """The caller may look at what was dropped."""
    cleaning = RowFilter(pl.DataFrame({"n": [1, 2, 3]}))
    assert cleaning.drop("two", "It is two.", pl.col("n") == 2)["n"].to_list() == [2]
    assert cleaning.frame["n"].to_list() == [1, 3]


def test_a_table_without_a_row_left_is_refused_with_the_commonest_reason():
    """The message says which reason took most rows; a table that was empty before is none of its business."""
    cleaning = RowFilter(pl.DataFrame({"n": [1, 2, 3]}))
    cleaning.drop("one", "It is one.", pl.col("n") == 1)
    refuse_empty(cleaning, "shop")
    cleaning.drop("more", "It is more.", pl.col("n") > 1)
    with pytest.raises(BadDataset, match=r"shop: all 3 rows were left out, 2 of them since: It is more\."):
        refuse_empty(cleaning, "shop")
    refuse_empty(RowFilter(pl.DataFrame({"n": []})), "shop")


def test_what_is_taken_is_forgotten():
    """The rows are the caller's alone, and the counts stay."""
    table = RowFilter(pl.DataFrame({"a": [1, 2]}))
    table.drop("small", "It is small.", pl.col("a") < 2)
    assert table.take()["a"].to_list() == [2]
    assert (table.frame.height, table.rows_in) == (0, 2)


def test_judged_queries_are_plain_text_in_normal_form():
    """A query is what a server reads of it, so an item judged for two spellings of one query was judged twice."""
    queries = ["ｍｉｌｋ", "milk", "<b>milk</b>  500ml"]
    frame = pl.DataFrame({"query": queries, "item_id": ["a", "a", "a"], "relevance": [1.0, 0.0, 1.0]})
    found = filter_judgements(frame, pl.DataFrame({"item_id": ["a"]}))
    assert found.frame["query"].to_list() == ["milk", "milk 500ml"]
