"""Reads the gateway's log of impressions as tables; what cannot be read or joined is counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.data.dataset.schema import BadDataset

PATTERN: Final = "shown-*.jsonl"

_ANSWERS: Final[dict[str, Any]] = {
    "request_id": pl.String(),
    "at_us": pl.Int64(),
    "user": pl.String(),
    "release": pl.String(),
    "placement": pl.String(),
    "stages": pl.String(),
    "occasion": pl.String(),
    "variants": pl.Object(),
    "query": pl.String(),
    "history": pl.List(pl.String()),
    "history_kinds": pl.List(pl.Int64()),
    "history_ages_s": pl.List(pl.Float64()),
    "filtered": pl.Boolean(),
    "items": pl.List(pl.String()),
    "scores": pl.List(pl.Float64()),
    "propensities": pl.List(pl.Float64()),
    "pool": pl.List(pl.String()),
    "degradations": pl.List(pl.String()),
    "total_ms": pl.Float64(),
}
_EVENTS: Final[dict[str, Any]] = {
    "event": pl.String(),
    "request_id": pl.String(),
    "at_us": pl.Int64(),
    "user": pl.String(),
    "kind": pl.String(),
    "item": pl.String(),
    "query": pl.String(),
    "value": pl.Float64(),
}


@dataclass(frozen=True)
class ImpressionTables:
    """A log of impressions.

    Attributes:
        answers: One row for each answer, with the fields of the log; by time.
        events: One row for each event, each once; by time.
        unreadable_lines: Lines that are no record, such as a line that a crash has torn.
        repeated: Records with an id that came before; the first stays.
    """

    answers: pl.DataFrame
    events: pl.DataFrame
    unreadable_lines: int
    repeated: int

    def left_out(self) -> list[str]:
        """Return a sentence for each kind of record that was left out."""
        notes = []
        if self.unreadable_lines:
            notes.append(f"{self.unreadable_lines:,} lines of the log could not be read and were left out.")
        if self.repeated:
            notes.append(f"{self.repeated:,} records of the log came before with the same id and were left out.")
        return notes

    def slots(self) -> pl.DataFrame:
        """Return one row for each item that was shown.

        Returns:
            `request_id`, `user`, `at_us`, `position` from 1, `item`, `propensity` (null if nothing was random, or if a
            rule placed the item) and `pool`, the number of items that could be shown.
        """
        counted = self.answers.with_columns(
            pl.int_ranges(1, pl.col("items").list.len() + 1).alias("position"),
            pl.when(pl.col("propensities").list.len() == pl.col("items").list.len())
            .then(pl.col("propensities"))
            .otherwise(pl.col("items").list.eval(pl.lit(None, dtype=pl.Float64)))
            .alias("propensity"),
        )
        kept = counted.select(
            "request_id", "user", "at_us", "pool", "position", pl.col("items").alias("item"), "propensity"
        )
        slots = kept.filter(pl.col("item").list.len() > 0).explode("position", "item", "propensity")
        return slots.with_columns(
            pl.when(pl.col("item").is_in(pl.col("pool"))).then(pl.col("propensity")).alias("propensity"),
            pl.col("pool").list.len().cast(pl.Int64).alias("pool"),
        )

    def rewards(self, kind: str) -> pl.DataFrame:
        """Return the items that an event of a kind followed from: `request_id` and `item`, each pair once."""
        chosen = self.events.filter((pl.col("kind") == kind) & (pl.col("request_id") != ""))
        return chosen.select("request_id", "item").unique(maintain_order=True)

    def rewarded_slots(self, kind: str) -> pl.DataFrame:
        """Return the slots with `reward`: 1 if an event of the kind followed from the item, else 0."""
        rewards = self.rewards(kind).with_columns(pl.lit(1.0).alias("reward"))
        joined = self.slots().join(rewards, on=["request_id", "item"], how="left", maintain_order="left")
        return joined.with_columns(pl.col("reward").fill_null(0.0))


def read_log(folders: Sequence[Path]) -> ImpressionTables:
    """Read the files of one or more gateways.

    Args:
        folders: Folders of `--impressions-log`, or folders above them.

    Raises:
        BadDataset: A folder has no file of a log, or no line is a record.
    """
    files = [file for folder in folders for file in _files(folder)]
    answers: dict[str, dict[str, Any]] = {}
    events: dict[str, dict[str, Any]] = {}
    unreadable = repeated = 0
    for line in _lines(files):
        record = _record(line)
        if record is None:
            unreadable += 1
            continue
        table, key = (answers, "request_id") if record["type"] == "impression" else (events, "event")
        repeated += record[key] in table
        table.setdefault(record[key], record)
    if not answers and not events:
        raise BadDataset(f"{', '.join(map(str, folders))}: none of {unreadable:,} lines is an impression or an event")
    return ImpressionTables(_frame(answers, _ANSWERS), _frame(events, _EVENTS), unreadable, repeated)


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.rglob(PATTERN)) if folder.is_dir() else []
    if not files:
        raise BadDataset(
            f"{folder} has no {PATTERN}; name the folder of the gateway's --impressions-log, or a folder above several"
        )
    return files


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    for file in files:
        with file.open("rb") as stream:
            yield from stream


def _record(line: bytes) -> dict[str, Any] | None:
    """Return a record whose fields are of the right kinds; None of a line that is none."""
    try:
        record = json.loads(line)
        kind = record["type"]
        wanted = {"impression": _ANSWERS, "event": _EVENTS}[kind]
        whole = {name: record[name] for name in wanted}
    except (ValueError, KeyError, TypeError):
        return None
    is_right = isinstance(whole["at_us"], int) and all(
        isinstance(whole[name], list) for name, of in wanted.items() if isinstance(of, pl.List)
    )
    return {"type": kind, **whole} if is_right and isinstance(whole["request_id"], str) else None


def _frame(records: dict[str, dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    ordered = sorted(records.values(), key=lambda record: record["at_us"])
    return pl.DataFrame({name: pl.Series(name, [row[name] for row in ordered], kind) for name, kind in schema.items()})
