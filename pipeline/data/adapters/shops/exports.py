"""Which of the files at a path are which tables of a shop platform's export."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.tables import RawTable, find_tables, is_table, read_raw_table
from pipeline.data.ingest.values import as_text

Headings = Collection[Collection[str]]
"""Sets of columns, as :func:`heading` writes them; a table that has all of one set is of the kind."""


@dataclass
class Exports:
    """The tables at a path.

    Attributes:
        data: The path.
        tables: By kind, the rows of all its files as text, with columns named as :func:`heading` does.
        files: By kind, its files.
        others: Tables of no kind, as they were read.
        notes: Sentences for the report on how files are written and which were not read.
    """

    data: Path
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    files: dict[str, list[Path]] = field(default_factory=dict)
    others: dict[Path, pl.DataFrame] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def place(self, kind: str) -> str:
        """Return the names of the files of a kind, for messages."""
        return ", ".join(map(str, self.files.get(kind, [self.data])))


def read_exports(data: Path, kinds: Mapping[str, Headings], needed: str | None, what: str) -> Exports:
    """Read a file, or the tables of a folder, and sort them by their headings. Files of one kind are put together.

    Args:
        data: The file or folder.
        kinds: The headings of each kind.
        needed: The kind that must be there; None needs none.
        what: What the path should hold, for messages.

    Raises:
        BadDataset: Nothing is at the path, or no table is of the kind that must be there.
    """
    found = Exports(data)
    failed: list[BadDataset] = []
    parts: dict[str, list[pl.DataFrame]] = {}
    for path in table_files(data, what):
        try:
            raw = read_raw_table(path)
        except BadDataset as error:
            failed.append(error)
            continue
        kind = find_kind(raw.frame.columns, kinds)
        if kind is None:
            found.others[path] = raw.frame
            continue
        found.notes += _sentences(raw)
        parts.setdefault(kind, []).append(_as_export(raw.frame))
        found.files.setdefault(kind, []).append(path)
    found.tables = {kind: pl.concat(frames, how="diagonal") for kind, frames in parts.items()}
    if needed is not None and needed not in found.tables:
        if failed:
            raise failed[0]
        raise BadDataset(_lacking(found, kinds, needed, what))
    found.notes += [f"A file was not read: {error}." for error in failed]
    return found


def table_files(data: Path, what: str) -> list[Path]:
    """Return the tables at a path; raises BadDataset if nothing is there."""
    if data.is_dir():
        return list(find_tables(data).values())
    if not data.is_file():
        raise BadDataset(f"{data} does not exist; name {what}")
    return [data] if is_table(data) else []


def find_kind(columns: Collection[str], kinds: Mapping[str, Headings]) -> str | None:
    """Return the first kind with a set of headings that are all among a table's columns, or None."""
    names = {heading(column) for column in columns}
    return next((kind for kind, sets in kinds.items() if any(names.issuperset(one) for one in sets)), None)


def heading(name: str) -> str:
    """Return a column's name in lower case with single spaces."""
    return " ".join(name.lower().split())


def first_of(frame: pl.DataFrame, *names: str) -> pl.Series:
    """Return the first filled cell of each row among some columns, those that a table has."""
    there = [name for name in names if name in frame.columns]
    if not there:
        return pl.Series(names[0], [None] * frame.height, dtype=pl.String)
    return frame.select(pl.coalesce(there).alias(names[0])).to_series()


def look_up(keys: pl.Series, known: pl.DataFrame) -> pl.Series:
    """Return the item that each key names; null for a key that none has, or that several have.

    Args:
        keys: Such as the article numbers of orders.
        known: Columns `key` and `item_id`.
    """
    clear = (
        known.drop_nulls()
        .group_by("key")
        .agg(pl.col("item_id").first(), pl.col("item_id").n_unique().alias("items"))
        .filter(pl.col("items") == 1)
    )
    return keys.alias("key").to_frame().join(clear, on="key", how="left", maintain_order="left")["item_id"]


def _as_export(frame: pl.DataFrame) -> pl.DataFrame:
    named: dict[str, pl.Series] = {}
    for column in frame.iter_columns():
        named.setdefault(heading(column.name), as_text(column))
    return pl.DataFrame(named)


def _sentences(raw: RawTable) -> list[str]:
    return [sentence for note in raw.notes for sentence in note.sentences()]


def _lacking(found: Exports, kinds: Mapping[str, Headings], needed: str, what: str) -> str:
    wanted = " or ".join("with " + ", ".join(sorted(one)) for one in kinds[needed])
    seen = "; ".join(f"{path.name} has {', '.join(frame.columns)[:200]}" for path, frame in found.others.items())
    known = [path.name for paths in found.files.values() for path in paths]
    seen = "; ".join([*([f"found {', '.join(known)}"] if known else []), *([seen] if seen else [])]) or "found no table"
    return f"{found.data} holds no table of {needed} {wanted}: {seen}; name {what}"
