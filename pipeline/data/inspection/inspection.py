"""A look at a shop's files: what each is, what its columns mean, and what a dataset of them would hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Final, Literal

import polars as pl

from pipeline.data.adapters.shops.own_tables import Description, TableMapping, dataset_of
from pipeline.data.adapters.shops.recognition import Recognised, recognise
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.file_note import FileNote
from pipeline.data.files.tables import find_tables, read_raw_table
from pipeline.data.ingest.roles import guess_table, lacking, propose_roles

_RATINGS: Final = ("rating", "ratings", "stars", "overall")

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class InspectedTable:
    """One table of the shop.

    Attributes:
        path: The file, or the folder of its parts.
        table: Which table of a dataset it can be, or None.
        roles: Our column's name to theirs.
        raw: Its rows as they were read.
        notes: How its files are written.
    """

    path: Path
    table: str | None
    roles: dict[str, str]
    raw: pl.DataFrame
    notes: list[FileNote]


@dataclass(frozen=True)
class Inspection:
    """What was understood.

    Attributes:
        root: The folder that files are named from.
        tables: Every table found.
        description: The mapping that follows, None if there are no items or an adapter reads the files without one.
        dataset: What it makes of the files, None if it makes none.
        warnings: What a reader should know, the worst first.
        recognised: The shop platform whose export this is, None if it is no known one's.
    """

    root: Path
    tables: list[InspectedTable]
    description: Description | None = None
    dataset: Dataset | None = None
    warnings: list[tuple[Severity, str]] = field(default_factory=list)
    recognised: Recognised | None = None


def inspect(data: Path) -> Inspection:
    """Read the tables of a folder, propose what they mean, and try the mapping on them.

    The export of a known platform needs no mapping: its adapter is tried instead.

    Raises:
        BadDataset: There is no folder, or it holds no table.
    """
    if not data.is_dir():
        raise BadDataset(f"{data} is no folder; name the folder that holds the shop's files")
    paths = find_tables(data)
    if not paths and recognise(data, []) is None:
        raise BadDataset(f"{data} holds no table; tables end in .csv, .tsv, .jsonl, .json, .parquet or .xlsx")
    tables: list[InspectedTable] = []
    warnings: list[tuple[Severity, str]] = []
    for name, path in paths.items():
        try:
            tables.append(_inspected(name, path))
        except BadDataset as error:
            warnings.append(("error", str(error)))
    recognised = recognise(data, [table.raw.columns for table in tables])
    if recognised is not None:
        return _of_platform(data, tables, recognised)
    described = _description(data, tables)
    warnings += _of_tables(tables, described)
    if described is None:
        return Inspection(data, tables, warnings=_sorted(warnings))
    try:
        dataset = dataset_of(described, data, [], lambda _: None)
    except BadDataset as error:
        return Inspection(data, tables, described, None, _sorted([*warnings, ("error", str(error))]))
    warnings += _of_dataset(dataset)
    return Inspection(data, tables, described, dataset, _sorted(warnings))


def _of_platform(data: Path, tables: list[InspectedTable], recognised: Recognised) -> Inspection:
    found: list[tuple[Severity, str]] = [("note", recognised.sentence)]
    try:
        dataset = recognised.adapter.prepare(data, lambda _: None)
    except BadDataset as error:
        return Inspection(data, tables, None, None, [("error", str(error)), *found], recognised)
    found += [*_of_dataset(dataset), *(("warning", note) for note in dataset.report.notes)]
    return Inspection(data, tables, None, dataset, _sorted(found), recognised)


def _inspected(name: str, path: Path) -> InspectedTable:
    raw = read_raw_table(path)
    table = name if name in ("items", "events", "judgements") else guess_table(raw.frame)
    roles = propose_roles(raw.frame, table) if table else {}
    return InspectedTable(path, table, roles, raw.frame, raw.notes)


def _description(root: Path, tables: list[InspectedTable]) -> Description | None:
    """Return the mapping of the largest table of each kind whose needed columns were found."""
    chosen: dict[str, TableMapping] = {}
    for table in sorted(tables, key=lambda one: (one.path.stem.lower() != one.table, -one.raw.height)):
        if table.table is None or table.table in chosen or lacking(table.roles, table.table):
            continue
        further = {} if table.table != "items" else _further(table)
        event = _only_event(table.roles) if table.table == "events" else None
        chosen[table.table] = TableMapping(
            file=table.path.relative_to(root), columns={**table.roles, **further}, event=event
        )
    return Description.model_validate(chosen) if "items" in chosen else None


def _only_event(roles: Mapping[str, str]) -> str | None:
    """Return what every event of a table is if no column says it: a rating if a column holds ratings."""
    if "event" in roles:
        return None
    return "rating" if roles.get("value", "").strip().lower() in _RATINGS else "purchase"


def _further(table: InspectedTable) -> dict[str, str]:
    """Return columns of items without fixed meaning, under names that attributes can have."""
    taken = set(table.roles.values())
    names = {
        name: "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split()) for name in table.raw.columns
    }
    found: dict[str, str] = {}
    for theirs, ours in names.items():
        if theirs in taken or not ours:
            continue
        names_in_turn = chain([ours], (f"{ours}_{number}" for number in count(2)))
        found[next(name for name in names_in_turn if name not in found and name not in table.roles)] = theirs
    return found


def _of_tables(tables: list[InspectedTable], described: Description | None) -> list[tuple[Severity, str]]:
    found: list[tuple[Severity, str]] = []
    used = {
        getattr(described, name).file.name
        for name in ("items", "events", "judgements")
        if getattr(described, name, None)
    }
    for table in tables:
        missing = lacking(table.roles, table.table) if table.table else []
        if table.raw.is_empty():
            found.append(("error", f"{table.path.name} has names of columns and no row"))
        elif missing:
            found.append(("error", f"{table.path.name}: no column looks like {', '.join(missing)}"))
        elif table.path.name not in used:
            found.append(("warning", f"{table.path.name} is not used"))
        found += [("warning", sentence) for note in table.notes for sentence in note.sentences()]
    if described is None:
        found.append(("error", "no table looks like items: one with an id and a title"))
    elif described.events is None:
        found.append(("warning", "no table looks like events: a release of items alone answers queries"))
    elif described.events.event:
        found.append(("note", f"no column says what happened; every event counts as a {described.events.event}"))
    return found


def _of_dataset(dataset: Dataset) -> list[tuple[Severity, str]]:
    found: list[tuple[Severity, str]] = []
    for name, table in dataset.report.tables.items():
        for reason, dropped in table.dropped.items():
            if dropped.rows:
                severity: Severity = "warning" if dropped.rows * 20 > table.rows_in else "note"
                found.append(
                    (severity, f"{name}: {dropped.rows:,} of {table.rows_in:,} rows left out ({reason}). {dropped.why}")
                )
        for column, unreadable in table.unreadable.items():
            shown = ", ".join(map(repr, unreadable.examples))
            found.append(("warning", f"{name}: {unreadable.cells:,} cells of {column} cannot be read, such as {shown}"))
        found += [("warning", f"{name}: {note}") for note in table.notes]
        found += [("note", f"{name}: {rows:,} texts of {column} were cut") for column, rows in table.cut.items()]
    return found


def _sorted(warnings: list[tuple[Severity, str]]) -> list[tuple[Severity, str]]:
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(dict.fromkeys(warnings), key=lambda one: order[one[0]])
