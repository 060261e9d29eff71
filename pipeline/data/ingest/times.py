"""Times as shops write them, read cell by cell.

One column may mix forms: seconds, milliseconds, microseconds and nanoseconds since 1970, days as 20240301, moments as
20240301101500, days as Excel counts them, ISO 8601 with offsets or the word UTC, and local forms such as
3/14/24 5:09 PM, 14 March 2024 or 2024年3月14日 (see `time_spellings`). The order of day and month is decided for a
column as a whole, since one cell cannot tell: see `DayOrder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import polars as pl

from pipeline.data.dataset.schema import TIMESTAMP, as_utc
from pipeline.data.ingest.time_spellings import MONTH_NUMBERS, is_rounded, respelled
from pipeline.data.ingest.values import ascii_digits, by_slices, without_nulls

DayOrder = Literal["auto", "month first", "day first"]
"""Which of 3/4/2024 is the month. `auto` takes the order that a cell past the 12th proves; without proof, day first if
the cells are parted by dots and month first otherwise."""

MIN_YEAR: Final = 1971

# Whole numbers by what they can be. A number of seconds has at most 11 digits until the year 5138.
_SECONDS_BELOW: Final = 10**11
_MILLISECONDS_BELOW: Final = 10**14
_MICROSECONDS_BELOW: Final = 10**17
_EXCEL_DAYS: Final = (20_000, 100_000)  # 1954 to 2173; as seconds since 1970, all on its first two days
_EXCEL_ZERO_DAY: Final = -25_569  # 30 December 1899, in days since 1970

_YEAR_DIGITS: Final = 4
_DAY_DIGITS: Final = 2
_MAX_MONTH: Final = 12
_FIRST_OF_LAST_CENTURY: Final = 70  # 69 is 2069, 70 is 1970, as POSIX reads two digits
_MAX_ZONE_HOURS: Final = 14
_HOURS: Final = 24
_CLOCK: Final = (  # without u, \d is 0 to 9 and no other script's digits
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9})\d*)?)?"
    r"\s*(?P<half>[ap])?\.?(?:m\.?)?)?"
    r"\s*(?P<zone>z|utc|gmt|[+-]\d{2}:?\d{2}|[+-]\d{2})?$"
)
_NUMERIC: Final = r"(?i-u)^(?P<first>\d{1,4})(?P<separator>[-/.])(?P<middle>\d{1,2})[-/.](?P<last>\d{1,4})" + _CLOCK
_NAMED: Final = (
    r"(?i-u)^(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?"
    r"(?:(?P<day>\d{1,2})[. /-]+(?P<month>(?u:\p{L}){3,})\.?[, /-]+"
    r"|(?P<month2>(?u:\p{L}){3,})\.?\s+(?P<day2>\d{1,2}),?\s+)"
    r"(?P<year>\d{2,4})" + _CLOCK
)
# As numbers of milliseconds, 12 digits that are a date would be days of 1976.
_COMPACT: Final = (
    r"(?i-u)^(?P<year>(?:19|20|21)\d{2})(?P<month>\d{2})(?P<day>\d{2})[T ]?(?P<hour>\d{2})(?P<minute>\d{2})"
    r"(?P<second>\d{2})?Z?$"
)


@dataclass(frozen=True)
class ReadTimes:
    """A column of times.

    Attributes:
        times: Microseconds without a zone, in UTC where the cell had one; null where a cell is empty or no time.
        unreadable: Which cells hold something that is no time.
        outside: Which cells hold a time before 1971 or after next year: a mistake in the export.
        order: The order of day and month that was taken, None if no cell needed one.
        proven: Whether a cell past the 12th proved the order.
        rounded: How many cells are numbers with a power of ten, which a spreadsheet has rounded.
    """

    times: pl.Series
    unreadable: pl.Series
    outside: pl.Series
    order: DayOrder | None = None
    proven: bool = True
    rounded: int = 0


def read_times(column: pl.Series, order: DayOrder = "auto", now: datetime | None = None) -> ReadTimes:
    """Read a column of any type as times.

    Args:
        column: Text, numbers, dates or datetimes.
        order: Which of day and month comes first in local forms.
        now: The present; times after the end of next year are outside.
    """
    taken: DayOrder | None = None
    proven = True
    rounded = 0
    if column.dtype == pl.String:
        column = ascii_digits(without_nulls(column))
        rounded = int(is_rounded(column).sum())
        times, taken, proven = _of_text(column, order)
    elif column.dtype.is_numeric():
        times = _of_numbers(column)
    elif column.dtype == pl.Date:
        times = column.cast(TIMESTAMP)
    elif isinstance(column.dtype, pl.Datetime):
        times = as_utc(column)
    else:
        times = pl.Series(column.name, [None] * len(column), dtype=TIMESTAMP)
    last_year = (now or datetime.now(UTC)).year + 1
    outside = ((times.dt.year() < MIN_YEAR) | (times.dt.year() > last_year)).fill_null(value=False)
    unreadable = column.is_not_null() & times.is_null()
    return ReadTimes(times.set(outside, None).alias(column.name), unreadable, outside, taken, proven, rounded)


def _of_text(text: pl.Series, order: DayOrder) -> tuple[pl.Series, DayOrder | None, bool]:
    taken: DayOrder | None = None
    proven = True
    times = by_slices(_of_plain_iso, text)
    text = _with_known_spelling(text, times)
    for form in (_of_compact, _of_number_text, _of_numeric_dates, _of_named_dates):
        left = text.is_not_null() & times.is_null()
        if not left.any():
            break
        if form is _of_numeric_dates:
            parts = _groups(text.filter(left), _NUMERIC)
            taken, proven = _day_order(parts) if order == "auto" else (order, True)
            found = parts.select(_of_parts(taken or "month first")).to_series()
        else:
            found = form(text.filter(left))
        times = times.scatter(left.arg_true(), found)
    return times, taken, proven


def _with_known_spelling(text: pl.Series, times: pl.Series) -> pl.Series:
    """Return cells with the ones that no form reads respelled; the others are left as they are, which is faster."""
    left = times.is_null() & text.is_not_null()
    if not left.any():
        return text
    cells = text.filter(left)
    known = cells.str.contains(r"^-?[0-9]+(?:[.,][0-9]+)?$")
    for form in (_NUMERIC, _NAMED, _COMPACT):
        if known.all():
            return text
        known |= cells.str.contains(form)
    odd = left.arg_true().filter(~known)
    return text.scatter(odd, respelled(text.gather(odd))) if len(odd) else text


def _groups(text: pl.Series, pattern: str) -> pl.DataFrame:
    return (
        text.alias("text").to_frame().select(pl.col("text").str.extract_groups(pattern).alias("parts")).unnest("parts")
    )


def _of_plain_iso(text: pl.Series) -> pl.Series:
    """Return the times of cells in the commonest form, by polars' own reader: it is several times as fast."""
    bare = text.str.strip_suffix("Z")
    spaced = bare.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    return bare.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False) if spaced.null_count() else spaced


def _of_numbers(column: pl.Series) -> pl.Series:
    """Return the times that numbers mean, each by its own size."""
    if column.dtype.is_float():
        column = column.set(~column.is_finite(), None)
        whole = (column % 1 == 0) & (column.abs() < 2**53)
        text = column.round(0).cast(pl.Int64, strict=False).cast(pl.String)
        precise = column.to_frame("n").select((pl.col("n") * 1e6).round(0).cast(pl.Int64, strict=False)).to_series()
        excel = column.to_frame("n").select(_excel(pl.col("n"))).to_series()
        fractions = pl.select(
            pl.when(column.is_between(*_EXCEL_DAYS))
            .then(excel)
            .when(column.abs() < _SECONDS_BELOW)
            .then(precise.cast(TIMESTAMP))
        ).to_series()
        return pl.select(pl.when(whole).then(_of_text(text, "auto")[0]).otherwise(fractions)).to_series()
    return _of_text(column.cast(pl.String), "auto")[0]


def _of_number_text(cells: pl.Series) -> pl.Series:
    """Return the times of cells that hold one number; days as 20240301 are no number of seconds."""
    text = pl.col("text")
    whole = text.str.extract(r"^(-?[0-9]{1,19})(?:\.0+)?$", 1).cast(pl.Int64, strict=False)
    fraction = (
        text.str.extract(r"^(-?[0-9]{1,11}[.,][0-9]+)$", 1)
        .str.replace(",", ".", literal=True)
        .cast(pl.Float64, strict=False)
    )
    day = text.str.extract(r"^((?:19|20|21)[0-9]{6})(?:\.0+)?$", 1).str.to_date("%Y%m%d", strict=False).cast(TIMESTAMP)
    size = whole.abs()
    microseconds = (
        pl.when(size < _SECONDS_BELOW)
        .then(whole * 1_000_000)
        .when(size < _MILLISECONDS_BELOW)
        .then(whole * 1_000)
        .when(size < _MICROSECONDS_BELOW)
        .then(whole)
        .otherwise(whole // 1_000)
    )
    times = (
        pl.when(day.is_not_null())
        .then(day)
        .when(whole.is_between(*_EXCEL_DAYS))
        .then(_excel(whole))
        .when(whole.is_not_null())
        .then(microseconds.cast(TIMESTAMP))
        .when(fraction.is_between(*_EXCEL_DAYS))
        .then(_excel(fraction))
        .otherwise((fraction * 1e6).round(0).cast(pl.Int64, strict=False).cast(TIMESTAMP))
    )
    return cells.alias("text").to_frame().select(times.alias("time")).to_series()


def _excel(days: pl.Expr) -> pl.Expr:
    """Return the time of Excel's count of days; to the second, which is all that its fractions hold."""
    return ((days + _EXCEL_ZERO_DAY) * 86_400).round(0).cast(pl.Int64, strict=False).mul(1_000_000).cast(TIMESTAMP)


def _day_order(parts: pl.DataFrame) -> tuple[DayOrder | None, bool]:
    """Return the order of day and month that the cells of a column prove, and whether they do."""
    ambiguous = parts.filter(pl.col("first").str.len_chars() <= _DAY_DIGITS)
    if ambiguous.is_empty():
        return None, True
    first, middle = (ambiguous[name].cast(pl.Int64) for name in ("first", "middle"))
    days_first, months_first = int((first > _MAX_MONTH).sum()), int((middle > _MAX_MONTH).sum())
    if days_first != months_first:
        return ("day first" if days_first > months_first else "month first"), True
    dotted = int((ambiguous["separator"] == ".").sum())
    return ("day first" if dotted * 2 > ambiguous.height else "month first"), False


def _of_parts(order: DayOrder) -> pl.Expr:
    """Return the times of numeric dates; a first part of four digits is a year, whatever the order."""
    iso = pl.col("first").str.len_chars() == _YEAR_DIGITS
    front, back = ("middle", "first") if order == "day first" else ("first", "middle")
    year = pl.when(iso).then(pl.col("first")).otherwise(pl.col("last"))
    month = pl.when(iso).then(pl.col("middle")).otherwise(pl.col(front))
    day = pl.when(iso).then(pl.col("last")).otherwise(pl.col(back))
    return _at(year, month, day)


def _of_numeric_dates(cells: pl.Series) -> pl.Series:
    """Return the times of dates in numbers; see `_of_parts`."""
    return _groups(cells, _NUMERIC).select(_of_parts("month first")).to_series()


def _of_named_dates(cells: pl.Series) -> pl.Series:
    """Return the times of dates with the name of a month, or written in Chinese."""
    parts = _groups(cells, _NAMED)
    name = pl.coalesce("month", "month2").str.to_lowercase()
    month = name.replace_strict(MONTH_NUMBERS, default=None, return_dtype=pl.String)
    return parts.select(_at(pl.col("year"), month, pl.coalesce("day", "day2"))).to_series()


def _of_compact(cells: pl.Series) -> pl.Series:
    """Return the times of 12 or 14 digits, year to minute or second, also with a T before the hour."""
    names = ("year", "month", "day", "hour", "minute", "second")
    parts = [pl.col(name).cast(pl.Int32).fill_null(0) for name in names]
    found = _groups(cells, _COMPACT)
    return found.select(pl.when(pl.col("year").is_not_null()).then(_valid(*parts))).to_series()


def _at(year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
    """Return the times of parts in text, with the clock and the zone of the cell."""
    digits, number = year.str.len_chars(), year.cast(pl.Int32)
    century = pl.when(number < _FIRST_OF_LAST_CENTURY).then(2_000).otherwise(1_900)
    full = pl.when(digits == _YEAR_DIGITS).then(number).when(digits == _DAY_DIGITS).then(number + century)
    hour = pl.col("hour").cast(pl.Int32).fill_null(0)
    half = pl.col("half").str.to_lowercase()
    twelve = (
        pl.when(half.is_null())
        .then(hour)
        .when(hour.is_between(1, 12))
        .then(hour % 12 + pl.when(half == "p").then(12).otherwise(0))
    )
    rest = (pl.col(name).cast(pl.Int32).fill_null(0) for name in ("minute", "second"))
    fraction = pl.col("fraction").str.pad_end(9, "0").str.slice(0, 6).cast(pl.Int64).fill_null(0)
    minute, second = rest
    midnight = (hour == _HOURS) & (minute == 0) & (second == 0) & (fraction == 0) & half.is_null()
    hour = pl.when(midnight).then(0).otherwise(twelve)
    local = _valid(full, month.cast(pl.Int32), day.cast(pl.Int32), hour, minute, second)
    ended = pl.duration(days=midnight.cast(pl.Int64))  # 24:00 is the end of the day
    return local + ended + pl.duration(microseconds=fraction) - _offset(pl.col("zone"))


def _offset(zone: pl.Expr) -> pl.Expr:
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    digits = zone.str.extract(r"^[+-]([0-9]{2})", 1).cast(pl.Int64).fill_null(0)
    minutes = zone.str.extract(r"^[+-][0-9]{2}:?([0-9]{2})$", 1).cast(pl.Int64).fill_null(0)
    exists = (digits <= _MAX_ZONE_HOURS) & (minutes < 60)  # noqa: PLR2004 - minutes of an hour
    return pl.duration(minutes=pl.when(exists).then(sign * (digits * 60 + minutes)))


def _valid(year: pl.Expr, month: pl.Expr, day: pl.Expr, hour: pl.Expr, minute: pl.Expr, second: pl.Expr) -> pl.Expr:
    """Return a time where the parts are one, null elsewhere: `pl.datetime` raises for a 31 April."""
    last = pl.datetime(year, month.clip(1, 12), 1).dt.month_end().dt.day()
    exists = (
        year.is_between(1, 9_999)
        & month.is_between(1, 12)
        & day.is_between(1, last.cast(pl.Int32))
        & hour.is_between(0, 23)
        & minute.is_between(0, 59)
        & second.is_between(0, 59)
    )
    safe = [pl.when(exists).then(part).otherwise(1) for part in (year, month, day, hour, minute, second)]
    return pl.when(exists).then(pl.datetime(*safe, time_unit="us"))
