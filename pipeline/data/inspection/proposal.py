"""What a shop's tables can be, and the mapping that follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.shops.own_tables import Description, TableMapping
from pipeline.data.files.file_note import FileNote
from pipeline.data.files.tables import RawTable
from pipeline.data.ingest.roles import guess_table, lacking, propose_roles

_RATINGS: Final = ("rating", "ratings", "stars", "overall")


@dataclass(frozen=True)
class InspectedTable:
    """One table of the shop.

    Attributes:
        path: The file, or the folder of its parts.
        table: Which table of a dataset it can be, or None.
        roles: Our column's name to theirs.
        raw: Its rows as they were read, or some of them.
        size: Rows or bytes, to compare tables by.
        notes: How its files are written.
    """

    path: Path
    table: str | None
    roles: dict[str, str]
    raw: pl.DataFrame
    size: int
    notes: list[FileNote]


def inspected(name: str, path: Path, raw: RawTable, size: int) -> InspectedTable:
    """Return what a table can be, by its name, its columns and its cells."""
    table = name if name in ("items", "events", "judgements") else guess_table(raw.frame)
    roles = propose_roles(raw.frame, table) if table else {}
    return InspectedTable(path, table, roles, raw.frame, size, raw.notes)


def propose_mapping(root: Path, tables: list[InspectedTable]) -> Description | None:
    """Return the mapping of the largest table of each kind whose needed columns were found."""
    chosen: dict[str, TableMapping] = {}
    for table in sorted(tables, key=lambda one: (one.path.stem.lower() != one.table, -one.size)):
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
