"""The gateway's log of impressions, and the events in its profiles, as a dataset.

``data`` is a folder with files ``shown-*.jsonl``, a table ``items`` and, if wanted, profiles ``*.sqlite3``; or a TOML
file that names them::

    log = ["gateway-a/impressions", "gateway-b/impressions"]
    profiles = ["gateway-a/profiles.sqlite3"]
    release = "releases/my-shop"    # its catalogue has the items; or items = "items.csv"

A choice that followed from an answer counts by the inverse of how likely users look at its position, in the column
``event_weight``.
"""

from __future__ import annotations

import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import open_release
from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.dataset.schema import ITEMS, BadDataset
from pipeline.data.files.tables import find_tables, read_raw_table
from pipeline.data.impressions.log_reader import PATTERN, ImpressionTables, read_log
from pipeline.data.impressions.position_bias import PositionBias, estimate_position_bias
from pipeline.data.ingest.events import clean_events
from pipeline.data.ingest.items import clean_items
from pipeline.data.ingest.row_filter import RowFilter, refuse_empty

_PROFILES: Final = "*.sqlite3"
# The weakest kind that follows from an answer: most choices, and so the best estimate.
_CHOICE: Final = "view"
_RECORDED: Final = "SELECT event_id, user_id, kind, item_id, value, occurred_at_us FROM events ORDER BY arrival"


class LogDescription(BaseModel):
    """Where the log, the profiles and the items are; paths are relative to the description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: tuple[Path, ...]
    profiles: tuple[Path, ...] = ()
    items: Path | None = None
    release: Path | None = None

    @model_validator(mode="after")
    def _one_place_of_items(self) -> LogDescription:
        if (self.items is None) == (self.release is None):
            raise ValueError("name either items, a table, or release, whose catalogue has the items")
        return self


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset of a log of impressions.

    Raises:
        BadDataset: The description, the log or the items are missing or wrong, or no event is usable.
    """
    description, root = _describe(data)
    progress("reading items")
    items = clean_items(_items(description, root))
    refuse_empty(items, str(data))
    progress("reading the log of impressions")
    tables = read_log([root / folder for folder in description.log])
    recorded = _with_profiles(tables.events, [root / file for file in description.profiles])
    bias = estimate_position_bias(tables.rewarded_slots(_CHOICE))
    weighed = _weighed(recorded, tables, bias)
    events = RowFilter(weighed.with_columns(pl.col("item_id").replace("", None)))
    events.drop("search", "A search names no item.", pl.col("event") == "search")
    cleaned = clean_events(events.take(), items.frame).include(events)
    refuse_empty(cleaned, str(data))
    report = DataReport(
        source=ADAPTER.name,
        licence=ADAPTER.licence,
        tables={"items": items.report(), "events": cleaned.report()},
        notes=_notes(tables, bias),
    )
    return Dataset(items.frame, cleaned.take(), None, report)


def _describe(data: Path) -> tuple[LogDescription, Path]:
    if data.is_dir():
        return _of_folder(data), data
    try:
        return LogDescription.model_validate(tomllib.loads(data.read_text(encoding="utf-8"))), data.parent
    except FileNotFoundError:
        raise BadDataset(f"{data} does not exist; name the folder of a log, or a TOML description of it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadDataset(f"{data} is no description of a log: it is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the description"
        raise BadDataset(f"{data} is no description of a log: {place}: {first['msg']}") from error


def _of_folder(data: Path) -> LogDescription:
    found = {name: path for name, path in find_tables(data).items() if name == ITEMS.name}
    if not found:
        raise BadDataset(
            f"{data} has no table of items; put items.csv there, or name a TOML file with `log` and `release`"
        )
    profiles = tuple(file.relative_to(data) for file in sorted(data.glob(_PROFILES)))
    return LogDescription(log=(Path(),), profiles=profiles, items=found[ITEMS.name].relative_to(data))


def _items(description: LogDescription, root: Path) -> pl.DataFrame:
    if description.items is not None:
        return read_raw_table(root / description.items).frame
    release = open_release(str(root / description.release))  # type: ignore[operator]  # one of both is named
    table = Catalogue.open(release.path / layout.CATALOGUE).table.drop_columns(["text", "token_ids"])
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError(f"a catalogue is a table, not {type(frame).__name__}")
    return frame


def _with_profiles(events: pl.DataFrame, files: list[Path]) -> pl.DataFrame:
    """Return the events of the log and those that profiles have besides, in a dataset's columns."""
    logged = events.select(
        pl.col("event").alias("event_id"),
        pl.col("user").alias("user_id"),
        pl.col("kind").alias("event"),
        pl.col("item").alias("item_id"),
        "value",
        pl.col("at_us").cast(pl.Datetime("us")).alias("timestamp"),
        "request_id",
    )
    others = [_read_profiles(file, logged.schema) for file in files]
    return pl.concat([logged, *others]).unique("event_id", keep="first", maintain_order=True)


def _read_profiles(file: Path, schema: pl.Schema) -> pl.DataFrame:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(_RECORDED).fetchall()
    except sqlite3.Error as error:
        raise BadDataset(f"{file} cannot be read as profiles of a gateway: {error}") from error
    names = ["event_id", "user_id", "event", "item_id", "value", "at_us"]
    kinds = {"value": pl.Float64(), "at_us": pl.Int64()}
    frame = pl.DataFrame(rows, {name: kinds.get(name, pl.String()) for name in names}, orient="row")
    timed = frame.with_columns(
        pl.col("at_us").cast(pl.Datetime("us")).alias("timestamp"), pl.lit("").alias("request_id")
    )
    return timed.select(schema.names())


def _weighed(events: pl.DataFrame, tables: ImpressionTables, bias: PositionBias) -> pl.DataFrame:
    slots = tables.slots().select("request_id", pl.col("item").alias("item_id"), pl.col("position").alias("shown_at"))
    first = slots.unique(["request_id", "item_id"], keep="first")
    joined = events.join(first, on=["request_id", "item_id"], how="left", maintain_order="left")
    weight = bias.weights(joined["shown_at"].fill_null(1).to_numpy())
    return joined.with_columns(
        pl.when(pl.col("shown_at").is_null()).then(1.0).otherwise(pl.Series(weight)).alias("event_weight")
    ).drop("request_id")


def _notes(tables: ImpressionTables, bias: PositionBias) -> list[str]:
    shown = tables.answers["request_id"]
    named = tables.events.filter(pl.col("request_id") != "")
    unknown = named.filter(~pl.col("request_id").is_in(shown.implode())).height
    look = ", ".join(f"{share:.2f}" for share in bias.examination[:10])
    notes = [
        f"{tables.answers.height:,} answers were read; {named.height:,} of {tables.events.height:,} events name one.",
        f"Positions are looked at with probability {look} relative to the first ({bias.method}).",
    ]
    notes += tables.left_out()
    if unknown:
        notes.append(f"{unknown:,} events name an answer that the log does not have; they count as any other event.")
    return notes


ADAPTER: Final = Adapter(
    name="events-log",
    description=f"What the gateway has shown and recorded: its log of impressions ({PATTERN}) with a table of items",
    licence="the shop's own",
    prepare=prepare,
)
