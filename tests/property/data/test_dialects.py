"""A random shop, written in a random dialect, is read back equal."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import os
import re
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data.adapters import prepare

# `make test-dialects` asks for 2,000.
EXAMPLES = int(os.environ.get("SHORTLIST_DIALECTS", "100"))

_LETTERS = {
    "utf-8": "abcXYZ019äöüßéñ茶绿手机牛奶 &+-%.,;|\"'()/",
    "utf-8-sig": "abcXYZ019äöüßéñ茶绿手机牛奶 &+-%.,;|\"'()/",
    "utf-16": "abcXYZ019äöüßéñ茶绿手机牛奶 &+-%.,;|\"'()/",
    "cp1252": "abcXYZ019äöüßéñ &+-%.,;|\"'()/",
    "gb18030": "abcXYZ019茶绿手机牛奶 &+-%.,;|\"'()/",
}
# Each title has a whole word in its encoding: one letter alone does not identify an encoding.
_WORDS = {"cp1252": "Frühstück für Männer", "gb18030": "新鲜纯牛奶手机茶"}
# Natural words have no more letters with marks in a row: nothing can tell `äöüé` from a word of another alphabet.
_LONG_RUN = re.compile(r"([äöüßéñ]{2})[äöüßéñ]+")
_TIMES = (
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S",
    "%Y%m%d%H%M%S",
    "%m/%d/%Y %H:%M:%S",
    "%d %b %Y %I:%M:%S %p",
    "s",
    "ms",
    "us",
)


@dataclass(frozen=True)
class Dialect:
    """How a shop writes its files."""

    encoding: str
    delimiter: str
    quoting: int
    line_end: str
    time: str
    comma: bool
    compression: str


@st.composite
def dialects(draw: st.DrawFn) -> Dialect:
    """Draw a dialect that a reader can tell."""
    comma = draw(st.booleans())
    return Dialect(
        encoding=draw(st.sampled_from(sorted(_LETTERS))),
        delimiter=draw(st.sampled_from(";\t|" if comma else ",;\t|")),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        line_end=draw(st.sampled_from(["\n", "\r\n", "\r"])),
        time=draw(st.sampled_from(_TIMES)),
        comma=comma,
        compression=draw(st.sampled_from(["", ".gz", ".bz2", ".zst", ".zip"])),
    )


@st.composite
def shops(draw: st.DrawFn, dialect: Dialect) -> tuple[list[tuple[str, str, float]], list[tuple[str, str, datetime]]]:
    """Draw items (id, title, price) and purchases (user, item, time)."""
    ids = draw(
        st.lists(st.from_regex(r"[0-9A-Z]{1,6}(\.[0-9]{2})?", fullmatch=True), min_size=2, max_size=6, unique=True)
    )
    ids = [f"{number}{one}" for number, one in enumerate(ids)]
    word = _WORDS.get(dialect.encoding, "")
    letters = _LETTERS[dialect.encoding]
    titles = draw(st.lists(st.text(letters, min_size=1, max_size=12), min_size=len(ids), max_size=len(ids)))
    prices = draw(st.lists(st.integers(1, 10**7), min_size=len(ids), max_size=len(ids)))
    items = [
        (i, _LONG_RUN.sub(r"\1", " ".join(f"{word} x{title}".split())), price / 100)
        for i, title, price in zip(ids, titles, prices, strict=True)
    ]
    moments = st.datetimes(datetime(2001, 1, 13), datetime(2024, 12, 31))  # noqa: DTZ001 - without zone
    rows = draw(st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from(ids), moments), min_size=1, max_size=8))
    events = {(f"user {user}", item, time.replace(microsecond=0)) for user, item, time in rows}
    return items, sorted(events)


def _time(moment: datetime, form: str) -> str:
    seconds = int((moment - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001 - UTC
    factor = {"s": 1, "ms": 1_000, "us": 1_000_000}.get(form)
    return str(seconds * factor) if factor else moment.strftime(form)


def _write(folder: Path, name: str, rows: list[tuple[str, ...]], dialect: Dialect) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=dialect.delimiter, quoting=dialect.quoting, lineterminator=dialect.line_end)  # type: ignore[arg-type]
    writer.writerows(rows)
    data = text.getvalue().encode(dialect.encoding)
    file = folder / f"{name}.csv{dialect.compression}"
    match dialect.compression:
        case ".gz":
            data = gzip.compress(data)
        case ".bz2":
            data = bz2.compress(data)
        case ".zst":
            data = pa.Codec("zstd").compress(data, asbytes=True)
        case ".zip":
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(f"{name}.csv", data)
            return
    file.write_bytes(data)


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(st.data())
def test_a_shop_in_any_dialect_is_read_back_equal(data: st.DataObject):
    """Ids, titles, prices, users and times are those that were written, whatever the encoding and the marks."""
    dialect = data.draw(dialects())
    items, events = data.draw(shops(dialect))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mark = "," if dialect.comma else "."
        priced = [(i, title, f"{price:.2f}".replace(".", mark)) for i, title, price in items]
        _write(folder, "items", [("item_id", "title", "price"), *priced], dialect)
        happened = [(user, item, "purchase", _time(time, dialect.time)) for user, item, time in events]
        _write(folder, "events", [("user_id", "item_id", "event", "timestamp"), *happened], dialect)
        files = {table: f'[{table}]\nfile = "{table}.csv{dialect.compression}"\n' for table in ("items", "events")}
        (folder / "shop.toml").write_text("\n".join([*files.values(), 'day_order = "month first"\n']))
        dataset = prepare("table", folder / "shop.toml")
    assert dataset.items.select("item_id", "title", "price").rows() == sorted(items)
    read = dataset.events.select("user_id", "item_id", pl.col("timestamp")).rows()
    assert sorted(read) == events
