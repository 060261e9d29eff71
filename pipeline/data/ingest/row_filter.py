"""Taking rows out of a table, one named reason after another, so that each dropped row is counted once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

import polars as pl

from common.markup import plain_text
from common.text import normalised
from pipeline.data.dataset.report import Dropped, TableReport, Unreadable
from pipeline.data.dataset.schema import EVENTS, BadDataset

MAX_BAD_SHARE: Final = 0.5
_MAX_EXAMPLES: Final = 3


class RowFilter:
    """A table being cleaned. ``frame`` holds the rows that are left."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self._rows_in = frame.height
        self._rows_taken = 0
        self._dropped: dict[str, Dropped] = {}
        self._unreadable: dict[str, Unreadable] = {}
        self._cut: dict[str, int] = {}
        self._notes: list[str] = []

    def drop(self, reason: str, why: str, condition: pl.Expr) -> pl.DataFrame:
        """Drop the rows that meet ``condition`` (null is no) under ``reason``, and return them."""
        mark = self.frame.select(condition.fill_null(value=False).alias("mark")).to_series()
        rows = int(mark.sum())
        self._dropped[reason] = Dropped(rows=rows, why=why)
        if not rows:  # a filter would copy the table
            return self.frame.clear()
        dropped = self.frame.filter(mark)
        self.frame = self.frame.filter(~mark)
        return dropped

    def replace(self, name: str, values: pl.Series) -> None:
        """Put other values in a column's place."""
        self.frame = self.frame.with_columns(values.alias(name))

    def read(self, name: str, values: pl.Series, unreadable: pl.Series) -> None:
        """Put what was read of a column in its place; cells that could not be read are counted and shown."""
        self.mark(name, self.frame[name], unreadable)
        self.replace(name, values)

    def mark(self, name: str, cells: pl.Series, unreadable: pl.Series) -> None:
        """Count cells of a column that could not be read, and keep some of them for the report."""
        bad = cells.filter(unreadable)
        if len(bad):
            examples = [str(cell)[:80] for cell in bad.unique(maintain_order=True).head(_MAX_EXAMPLES)]
            self._unreadable[name] = Unreadable(cells=len(bad), examples=examples)

    def cut(self, name: str, max_characters: int) -> None:
        """Cut the texts of a column to a length, and count those that were longer."""
        longer = int((self.frame[name].str.len_chars() > max_characters).sum())
        if longer:
            self._cut[name] = longer
            self.replace(name, self.frame[name].str.head(max_characters).str.strip_chars())

    def note(self, sentence: str) -> None:
        """Add a sentence to the report."""
        self._notes.append(sentence)

    def include(self, earlier: RowFilter) -> Self:
        """Count what an earlier filter of the same table left out as left out here too, and return self.

        Args:
            earlier: The filter whose remaining rows this one was made of.
        """
        self._rows_in += earlier.rows_in - earlier.frame.height - earlier._rows_taken
        both = dict(earlier._dropped)
        for reason, dropped in self._dropped.items():
            rows = both[reason].rows if reason in both else 0
            both[reason] = Dropped(rows=rows + dropped.rows, why=dropped.why)
        self._dropped = both
        self._unreadable = {**earlier._unreadable, **self._unreadable}
        self._notes = [*earlier._notes, *self._notes]
        return self

    def take(self) -> pl.DataFrame:
        """Return the rows that are left and forget them, so that they can be sorted without a second copy."""
        taken, self.frame = self.frame, self.frame.clear()
        self._rows_taken = taken.height
        return taken

    @property
    def rows_in(self) -> int:
        """How many rows came in."""
        return self._rows_in

    @property
    def unreadable(self) -> Mapping[str, Unreadable]:
        """Cells that could not be read, by column."""
        return self._unreadable

    def report(self, *, missing_in: pl.DataFrame | None = None) -> TableReport:
        """Return the report; empty cells are counted in ``missing_in``, by default in the rows that are left."""
        counts = (self.frame if missing_in is None else missing_in).null_count().row(0, named=True)
        return TableReport(
            rows_in=self._rows_in,
            rows_out=self.frame.height,
            dropped=self._dropped,
            missing={column: rows for column, rows in counts.items() if rows},
            unreadable=self._unreadable,
            cut=self._cut,
            notes=self._notes,
        )


def refuse_empty(cleaning: RowFilter, what: str) -> None:
    """Raise BadDataset, naming the commonest reason, where rows came in and none is left."""
    report = cleaning.report()
    if report.rows_out or not report.rows_in:
        return
    reason = max(report.dropped.values(), key=lambda dropped: dropped.rows)
    raise BadDataset(f"{what}: all {report.rows_in:,} rows were left out, {reason.rows:,} of them since: {reason.why}")


def refuse_unreadable(
    table: RowFilter, what: str, names: Mapping[str, str], advice: str, max_share: float = MAX_BAD_SHARE
) -> None:
    """Raise BadDataset if most cells of a column cannot be read, which one mistake explains and single cells do not.

    Args:
        table: The cleaned table.
        what: The file, for the message.
        names: Our column's name to the file's, where they differ.
        advice: What to do; `{column}` in it is our column's name.
        max_share: Of how many of a column's cells at most may be unreadable.
    """
    for name, found in table.unreadable.items():
        if found.cells > max_share * table.rows_in:
            raise BadDataset(
                f"{what}: {found.cells:,} of {table.rows_in:,} cells of the column {names.get(name, name)!r} are no "
                f"{name}, such as {', '.join(map(repr, found.examples))}; {advice.format(column=name)}"
            )


def filter_judgements(frame: pl.DataFrame, items: pl.DataFrame) -> RowFilter:
    """Leave out judgements that are incomplete, below zero, of unknown items, or repeated.

    Queries are plain text in normal form, as a server reads them.
    """
    plain = pl.col("query").map_elements(lambda query: normalised(plain_text(query)), return_dtype=pl.String)
    judgements = RowFilter(frame.with_columns(plain.replace("", None)))
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
    """Return an empty table of events."""
    return pl.DataFrame(schema={**EVENTS.needed, "timestamp": EVENTS.optional["timestamp"]})


def no_events_report() -> TableReport:
    """Return the report of :func:`no_events`."""
    return TableReport(rows_in=0, rows_out=0)
