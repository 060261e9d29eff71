"""A look at a shop's files: what each is, what its columns mean, and what a dataset of them would hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.data.adapters.shops.own_tables import Description, dataset_of
from pipeline.data.adapters.shops.recognition import Recognised, recognise
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.tables import find_tables, read_raw_table
from pipeline.data.ingest.roles import lacking
from pipeline.data.inspection.proposal import InspectedTable, inspected, propose_mapping

Severity = Literal["error", "warning", "note"]


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
    if not paths and not recognise(data, []):
        raise BadDataset(f"{data} holds no table; tables end in .csv, .tsv, .jsonl, .json, .parquet or .xlsx")
    tables: list[InspectedTable] = []
    warnings: list[tuple[Severity, str]] = []
    for name, path in paths.items():
        try:
            raw = read_raw_table(path)
            tables.append(inspected(name, path, raw, raw.frame.height))
        except BadDataset as error:
            warnings.append(("error", str(error)))
    recognised = recognise(data, [table.raw.columns for table in tables])
    if recognised:
        return _of_platform(data, tables, recognised[0])
    described = propose_mapping(data, tables)
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
