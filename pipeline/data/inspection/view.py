"""An inspection as tables for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.data.dataset.summary import summary_table
from pipeline.data.inspection.inspection import Inspection
from pipeline.data.inspection.parsed import parsed_column
from pipeline.data.inspection.proposal import InspectedTable

_ROWS = 5
_CELL = 28
_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


def show(inspection: Inspection, console: Console) -> None:
    """Print each table with its columns, their roles and five rows, raw and as read; then the dataset and warnings."""
    for table in inspection.tables:
        console.print(_table(table))
    if inspection.dataset is not None:
        console.print(summary_table(inspection.dataset))
    for severity, sentence in inspection.warnings:
        console.print(f"[{_STYLES[severity]}]{severity}:[/] {escape(sentence)}", highlight=False)


def _table(found: InspectedTable) -> Table:
    note = found.notes[0]
    facts = [f"{found.raw.height:,} rows", note.kind, note.encoding, note.compression]
    if note.delimiter:
        facts.append({"\t": "tabs", "\x01": "^A"}.get(note.delimiter, f"parted by {note.delimiter}"))
    if len(found.notes) > 1:
        facts.append(f"{len(found.notes)} files")
    title = f"{found.path.name}: {found.table or 'not used'} ({', '.join(fact for fact in facts if fact)})"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("column")
    table.add_column("is our")
    for number in range(min(_ROWS, found.raw.height)):
        table.add_column(f"row {number + 1}", overflow="ellipsis", max_width=_CELL)
    ours = {theirs: name for name, theirs in found.roles.items()}
    for name in found.raw.columns:
        table.add_row(escape(name), ours.get(name, "[dim]–[/]"), *_cells(found, name, ours.get(name)))
    return table


def _cells(found: InspectedTable, name: str, role: str | None) -> list[str]:
    raw = found.raw[name].head(_ROWS)
    if role is None:
        return [_short(cell) for cell in raw]
    read = parsed_column(found.raw[name], role).head(_ROWS)
    return [_pair(before, after) for before, after in zip(raw, read, strict=True)]


def _pair(before: object, after: object) -> str:
    if before is None and after is None:
        return ""
    if str(before) == str(after):
        return _short(before)
    return f"{_short(before)} → [green]{_short(after)}[/]"


def _short(cell: object) -> str:
    text = "" if cell is None else " ".join(str(cell).split())
    return escape(text if len(text) <= _CELL else text[: _CELL - 1] + "…")
