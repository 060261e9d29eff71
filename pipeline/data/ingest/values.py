"""Numbers, yes and no, and empty cells as shops write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

DecimalMark = Literal["auto", ".", ","]
"""What parts whole numbers from fractions. `auto` takes a comma if a cell of the column proves it."""

_SLICE_ROWS: Final = 1 << 20
NULLS: Final = frozenset({"na", "n/a", "n.a.", "#n/a", "null", "(null)", "none", "nan", "nil", "\\n", "-", "--", "?"})
_YES: Final = frozenset(
    {
        "true",
        "t",
        "yes",
        "y",
        "1",
        "1.0",
        "in stock",
        "instock",
        "available",
        "active",
        "enabled",
        "on",
        "sale",
        "有货",
        "是",
    }
    | {
        "preorder",
        "pre order",
        "backorder",
        "back order",
        "backorders",
        "limited availability",
        "limitedavailability",
        "online only",
        "ja",
        "oui",
        "si",
    }
)
_NO: Final = frozenset(
    {
        "false",
        "f",
        "no",
        "n",
        "0",
        "0.0",
        "out of stock",
        "outofstock",
        "sold out",
        "soldout",
        "unavailable",
        "not available",
    }
    | {"inactive", "disabled", "off", "discontinued", "archived", "draft", "无货", "缺货", "否", "nein", "non"}
)
_DIGITS: Final = {chr(zero + digit): str(digit) for zero in (0x660, 0x6F0, 0xFF10) for digit in range(10)}
_OTHER_DIGITS: Final = "[٠-٩۰-۹\uff10-\uff19]"
# ISO 4217, and what shops write for currencies. Other words after a number, such as kg, are units of something else.
_CODES: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK "
    "HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LTL LYD MAD "
    "MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR "
    "RMB RON RSD RUB RUR RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SYP SZL THB TJS TMT TND TOP TRY TTD TWD "
    "TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL"
)
_WRITTEN: Final = "Rs Re kr zł Kč руб р лв Ft lei TL Tk din KM Fr SFr грн ден сум тг Dhs Dh 元 円 원 元"
_UNIT: Final = rf"(?:(?i:{'|'.join([*_CODES.split(), *_WRITTEN.split()])})\.?|[A-Za-z]{{0,3}}\p{{Sc}})"
_NUMBER: Final = (
    r"^(?:" + _UNIT + r"\s*)?(?P<sign>[-+−]?)\s*(?:" + _UNIT + r"\s*)?"
    r"(?P<digits>[0-9][0-9.,'’\s]*|[.,][0-9]+)(?P<power>[eE][-+]?[0-9]{1,2})?\s*(?:" + _UNIT + r")?\s*(?:,-)?$"
)
_IN_BRACKETS: Final = r"^\(\s*([^-()]+)\)$"  # how accountants write what is below zero


@dataclass(frozen=True)
class ReadColumn:
    """A column read as what it means.

    Attributes:
        values: Null where a cell is empty or unreadable.
        unreadable: Which cells hold something else.
    """

    values: pl.Series
    unreadable: pl.Series


def without_nulls(column: pl.Series) -> pl.Series:
    """Return text without the space around it; null where it is blank or one of the words for nothing."""
    return by_slices(_without_nulls, column)


def by_slices(read: Callable[[pl.Series], pl.Series], column: pl.Series) -> pl.Series:
    """Return what a function of single cells makes of a column, a million cells at a time: its copies stay small."""
    if len(column) <= _SLICE_ROWS:
        return read(column)
    parts = (read(column.slice(start, _SLICE_ROWS)) for start in range(0, len(column), _SLICE_ROWS))
    return pl.concat(list(parts), rechunk=False)


def _without_nulls(column: pl.Series) -> pl.Series:
    text = column.str.strip_chars()
    return text.set((text == "") | text.str.to_lowercase().is_in(NULLS), None)


def ascii_digits(column: pl.Series) -> pl.Series:
    """Return text with Arabic, Persian and full-width digits as 0 to 9."""
    if not column.str.contains(_OTHER_DIGITS).any():
        return column
    return column.str.replace_many([*_DIGITS], [*_DIGITS.values()])


def as_text(column: pl.Series) -> pl.Series:
    """Return a column of any type as text without nulls; numbers that are whole throughout have no fraction."""
    if column.dtype == pl.String:
        return without_nulls(column)
    if column.dtype.is_float() and (column.drop_nulls().drop_nans() % 1 == 0).all():
        column = column.cast(pl.Int128, strict=False)
    return without_nulls(column.cast(pl.String))


def as_ids(column: pl.Series) -> pl.Series:
    """Return ids as text. If every one ends in .0, which an empty cell does to whole numbers, that goes."""
    ids = as_text(column)
    filled = ids.drop_nulls()
    if len(filled) and filled.str.contains(r"^\d+\.0$").all():
        return ids.str.strip_suffix(".0")
    return ids


def read_numbers(column: pl.Series, mark: DecimalMark = "auto") -> ReadColumn:
    """Read a column of numbers, with currencies, with thousands parted by commas, points, spaces or apostrophes.

    (5) is -5. A number with another unit than a currency, such as 5 kg or 5%, is unreadable.

    Args:
        column: Text or numbers.
        mark: The decimal mark.
    """
    if column.dtype.is_temporal():
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        numbers = column.cast(pl.Float64, strict=False)
        finite = numbers.set(~numbers.is_finite(), None)
        return ReadColumn(finite, column.is_not_null() & finite.is_null() & ~numbers.is_nan().fill_null(value=False))
    text = ascii_digits(without_nulls(column)).str.replace(_IN_BRACKETS, "-${1}")
    plain = (
        text.cast(pl.Float64, strict=False)
        if mark != ","
        else pl.Series(column.name, [None] * len(text), dtype=pl.Float64)
    )
    doubtful = text.str.contains(r"^\d{1,3}\.\d{3}$").fill_null(value=False) if mark == "auto" else None
    hard = text.is_not_null() & plain.is_null()
    if not hard.any() and (doubtful is None or not doubtful.any()):
        return _finite(plain, text)
    parts = text.to_frame("text").select(pl.col("text").str.extract_groups(_NUMBER).alias("parts")).unnest("parts")
    spaced = parts["digits"].str.strip_chars()
    grouped = ~spaced.str.contains(r"['’\s]") | spaced.str.contains(r"^\d{1,3}(?:['’\s]\d{3})+(?:[.,]\d*)?$")
    digits = spaced.str.replace_all(r"['’\s]", "")
    comma = mark == "," or (mark == "auto" and _comma_is_proven(digits))
    if not comma:
        shaped = digits.str.replace_all(",", "", literal=True)
        fine = digits.str.contains(r"^(?:\d+|\d{1,3}(?:,\d{2,3})*,\d{3})?(?:\.\d+)?\.?$") & ~digits.str.contains(
            r"^0\d*,"
        )
    else:
        shaped = digits.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        fine = digits.str.contains(r"^(?:\d+|\d{1,3}(?:\.\d{3})+)?(?:,\d+)?,?$|^\d+\.\d{1,2}$")
        lone = digits.str.contains(r"^\d+\.(?:\d{1,2}|\d{4,})$").fill_null(value=False)
        shaped = shaped.zip_with(~lone, digits)  # a cell with a point that cannot part thousands
        fine = fine | lone
    minus = parts["sign"].is_in(["-", "−"])
    written = (shaped + parts["power"].fill_null("")).cast(pl.Float64, strict=False)
    signed = written.zip_with(~minus.fill_null(value=False), -written)
    numbers = signed.set(~(fine & grouped).fill_null(value=False), None)
    return _finite(numbers.alias(column.name), text)


def read_flags(column: pl.Series) -> ReadColumn:
    """Read a column of yes and no: 1, true, yes, in stock and their like."""
    if column.dtype == pl.Boolean:
        return ReadColumn(column, pl.Series([False] * len(column), dtype=pl.Boolean))
    if column.dtype.is_numeric():
        numbers = column.cast(pl.Float64).fill_nan(None)  # NaN is greater than any number
        return ReadColumn(numbers > 0, pl.Series([False] * len(column), dtype=pl.Boolean))
    text = without_nulls(column.cast(pl.String))
    # Google's feed writes in_stock, schema.org https://schema.org/InStock.
    word = text.str.replace(r"^https?://schema\.org/", "").str.replace_all(r"[_\-\s]+", " ").str.to_lowercase()
    number = text.cast(pl.Float64, strict=False)
    yes = word.is_in(_YES) | (number > 0).fill_null(value=False)
    no = word.is_in(_NO) | (number <= 0).fill_null(value=False)
    flags = pl.select(pl.when(yes).then(True).when(no).then(False)).to_series().alias(column.name)
    return ReadColumn(flags, text.is_not_null() & flags.is_null())


def _comma_is_proven(digits: pl.Series) -> bool:
    """Return whether more cells can only have a decimal comma than can only have a decimal point."""
    comma = digits.str.contains(
        r"^\d*,\d{1,2}$|^\d*,\d{4,}$|^0,\d+$|^\d{1,3}(?:\.\d{3})+,\d+$|^\d{1,3}(?:\.\d{3}){2,}$"
    ).sum()
    point = digits.str.contains(r"^\d*\.\d{1,2}$|^\d*\.\d{4,}$|^\d{1,3}(?:,\d{3})+\.\d+$|^\d{1,3}(?:,\d{3}){2,}$").sum()
    return int(comma) > int(point)


def _finite(numbers: pl.Series, text: pl.Series) -> ReadColumn:
    finite = numbers.set(~numbers.is_finite().fill_null(value=False), None)
    return ReadColumn(finite, text.is_not_null() & finite.is_null())
