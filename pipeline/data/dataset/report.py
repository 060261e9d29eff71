"""The data report: what came in, what went out, and every row that was dropped, under a named reason."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from rich.markup import escape
from rich.table import Table


class Dropped(BaseModel):
    """How many rows were dropped for one reason, and the reason in a sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(ge=0)
    why: str


class Unreadable(BaseModel):
    """How many cells of a column could not be read and were left empty, or were cut, and some of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cells: int = Field(ge=0)
    examples: list[str] = []


class TableReport(BaseModel):
    """One table's rows. ``rows_in`` is always ``rows_out`` plus every dropped row; anything else is refused.

    Attributes:
        rows_in: Rows of the raw data.
        rows_out: Rows of the dataset.
        dropped: Rows dropped, by the reason's name, in the order in which the reasons were tried.
        missing: Cells left empty in the dataset, by column; columns without an empty cell are not listed.
        unreadable: Cells that hold something that their column cannot mean, by column; they were left empty.
        cut: Texts that were longer than the contract accepts, by column.
        notes: What a reader should know of the table, one sentence each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_in: int = Field(ge=0)
    rows_out: int = Field(ge=0)
    dropped: dict[str, Dropped] = {}
    missing: dict[str, int] = {}
    unreadable: dict[str, Unreadable] = {}
    cut: dict[str, int] = {}
    notes: list[str] = []

    @model_validator(mode="after")
    def _sums_agree(self) -> Self:
        dropped = sum(reason.rows for reason in self.dropped.values())
        if self.rows_in != self.rows_out + dropped:
            raise ValueError(f"{self.rows_in} rows in, but {self.rows_out} out and {dropped} dropped")
        return self


class DataReport(BaseModel):
    """What ``prepare`` did to the raw data.

    Attributes:
        source: Name of the data.
        licence: The terms under which the data may be used, as text.
        tables: A report for each of ``items``, ``events`` and, where there are any, ``judgements``.
        notes: Further remarks, one sentence each.
        event_weights: What an event of a kind counts, as far as the mapping of the raw data states it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    licence: str
    tables: dict[str, TableReport]
    notes: list[str] = []
    event_weights: dict[str, float] = {}


def render(report: DataReport) -> Table:
    """Return the report as a rich table, one section for each table of the dataset."""
    table = Table(title=f"Data report: {report.source}", caption=escape("\n".join([*report.notes, report.licence])))
    table.add_column("table")
    table.add_column("rows", justify="right")
    table.add_column("what", overflow="fold")
    for name, part in report.tables.items():
        _add_section(table, name, part)
    return table


def _add_section(table: Table, name: str, part: TableReport) -> None:
    def add(first: str, count: str, what: str, style: str = "") -> None:
        table.add_row(first, count, escape(what), style=style)

    add(name, f"{part.rows_in:,}", "read")
    for reason, dropped in part.dropped.items():
        if not dropped.rows:
            continue
        add("", f"-{dropped.rows:,}", f"{reason}: {dropped.why}")
    add("", f"{part.rows_out:,}", "kept", "bold")
    for column, found in part.unreadable.items():
        examples = ", ".join(map(repr, found.examples))
        add("", f"{found.cells:,}", f"cells of {column} could not be read, such as {examples}", "yellow")
    for column, rows in part.cut.items():
        add("", f"{rows:,}", f"texts of {column} were cut", "yellow")
    for note in part.notes:
        add("", "", note, "yellow")
    for column, rows in part.missing.items():
        add("", f"{rows:,}", f"of these without {column}", "dim")
    table.add_section()
