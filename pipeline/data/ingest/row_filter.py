"""Taking rows out of a table, one named reason after another, so that each dropped row is counted once."""

from __future__ import annotations

import polars as pl

from pipeline.data.dataset.report import Dropped, TableReport
from pipeline.data.dataset.schema import EVENTS, BadDataset


class RowFilter:
    """A table being cleaned. ``frame`` holds the rows that are left."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self._rows_in = frame.height
        self._dropped: dict[str, Dropped] = {}

    def drop(self, reason: str, why: str, condition: pl.Expr) -> pl.DataFrame:
        """Drop the rows that meet ``condition`` (null is no) under ``reason``, and return them."""
        mark = self.frame.select(condition.fill_null(value=False).alias("mark")).to_series()
        dropped = self.frame.filter(mark)
        self.frame = self.frame.filter(~mark)
        self._dropped[reason] = Dropped(rows=dropped.height, why=why)
        return dropped

    def report(self, *, missing_in: pl.DataFrame | None = None) -> TableReport:
        """Return the report; empty cells are counted in ``missing_in``, by default in the rows that are left."""
        counts = (self.frame if missing_in is None else missing_in).null_count().row(0, named=True)
        return TableReport(
            rows_in=self._rows_in,
            rows_out=self.frame.height,
            dropped=self._dropped,
            missing={column: rows for column, rows in counts.items() if rows},
        )


def refuse_empty(cleaning: RowFilter, what: str) -> None:
    """Raise BadDataset, naming the commonest reason, where rows came in and none is left."""
    report = cleaning.report()
    if report.rows_out or not report.rows_in:
        return
    reason = max(report.dropped.values(), key=lambda dropped: dropped.rows)
    raise BadDataset(f"{what}: all {report.rows_in:,} rows were left out, {reason.rows:,} of them since: {reason.why}")


def filter_judgements(frame: pl.DataFrame, items: pl.DataFrame) -> RowFilter:
    """Leave out judgements that are incomplete, below zero, of unknown items, or that stand there already."""
    judgements = RowFilter(frame)
    missing = pl.any_horizontal(pl.col("query", "item_id", "relevance").is_null())
    judgements.drop("incomplete", "Query, item or relevance is missing.", missing)
    judgements.drop("impossible_relevance", "The relevance is below zero.", pl.col("relevance") < 0)
    judgements.drop(
        "unknown_item", "The item is not among the items.", ~pl.col("item_id").is_in(items["item_id"].implode())
    )
    again = ~pl.struct("query", "item_id").is_first_distinct()
    judgements.drop("repeated", "This item was judged for this query before; the first judgement stays.", again)
    return judgements


def no_events() -> pl.DataFrame:
    """Return the events of a source that has none."""
    return pl.DataFrame(schema={**EVENTS.needed, "timestamp": EVENTS.optional["timestamp"]})


def no_events_report() -> TableReport:
    """Return the report of :func:`no_events`."""
    return TableReport(rows_in=0, rows_out=0)
