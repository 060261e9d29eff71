"""Times as people, locales and programs spell them, rewritten to the forms that `times` reads.

Covered are ordinals (1st March), months in seven languages, Chinese, Japanese and Korean dates, clocks before the date,
with a point, an h or a.m., zones by name, and the forms of ctime, JavaScript, Java, Apache logs and spreadsheets.
"""

from __future__ import annotations

from typing import Final

import polars as pl

# English, German, French, Spanish, Italian, Dutch, Portuguese.
_MONTHS: Final = (
    "january januar janvier enero gennaio januari janeiro jan janv ene gen",
    "february februar février febrero febbraio februari fevereiro feb févr fev",
    "march märz mars marzo maart março mar mär mrz mrt",
    "april avril abril aprile apr avr abr",
    "may mai mayo maggio mei maio mag",
    "june juni juin junio giugno junho jun giu",
    "july juli juillet julio luglio julho jul juil lug",
    "august août agosto augustus aug ago",
    "september septembre septiembre settembre setembro sep sept set",
    "october oktober octobre octubre ottobre outubro oct okt ott out",
    "november novembre noviembre novembro nov",
    "december dezember décembre diciembre dicembre dezembro dec dez déc dic",
)
MONTH_NUMBERS: Final = {name: str(at) for at, names in enumerate(_MONTHS, 1) for name in names.split()}

# Names of zones that mean one offset. CST and IST mean several, so cells with them are unreadable.
_ZONES: Final = {
    **dict.fromkeys(("WET",), "+00:00"),
    **dict.fromkeys(("CET", "MEZ", "BST", "WEST"), "+01:00"),
    **dict.fromkeys(("CEST", "MESZ", "EET"), "+02:00"),
    **dict.fromkeys(("EEST", "MSK"), "+03:00"),
    **dict.fromkeys(("HKT", "SGT", "AWST"), "+08:00"),
    **dict.fromkeys(("JST", "KST"), "+09:00"),
    "AEST": "+10:00",
    "AEDT": "+11:00",
    "NZST": "+12:00",
    "NZDT": "+13:00",
    "BRT": "-03:00",
    "EDT": "-04:00",
    **dict.fromkeys(("EST", "CDT"), "-05:00"),
    "MDT": "-06:00",
    **dict.fromkeys(("MST", "PDT"), "-07:00"),
    "PST": "-08:00",
}
_WEEKDAY: Final = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+"
_CLOCK: Final = r"\d{1,2}:\d{2}(?::\d{2})?"
_MORNING, _AFTERNOON = "上午|午前|오전|凌晨|早上", "下午|午後|오후|晚上|中午"
# Each in turn: what is found, and what it becomes.
_SPELLINGS: Final = (
    (r"^'", ""),  # a spreadsheet's mark of text
    (r"([Zz]|[+-]\d{2}:?\d{2})\s*\[[^\]]+\]$", "${1}"),  # Java: 10:00+01:00[Europe/Berlin]
    (r"\s*\([^()]*\)$", ""),  # JavaScript: GMT+0100 (Central European Standard Time)
    (r"^(\d{4})\s*[年년]\s*(\d{1,2})\s*[月월]\s*(\d{1,2})\s*[日일]\s*", "${1}-${2}-${3} "),
    (r"^(\d{4})\.\s*(\d{1,2})\.\s*(\d{1,2})\.\s+", "${1}-${2}-${3} "),
    (r"(\d{1,2})\s*[时時点시]\s*(\d{1,2})\s*[分분](?:\s*(\d{1,2})\s*[秒초])?$", "${1}:${2}:0${3}"),
    (r":0(\d\d)$", ":${1}"),
    (rf"(?:{_MORNING})\s*({_CLOCK})$", "${1} AM"),
    (rf"(?:{_AFTERNOON})\s*({_CLOCK})$", "${1} PM"),
    (r"(?i)^(\d{1,2})/([a-z]{3})/(\d{4}):(\d)", "${1} ${2} ${3} ${4}"),  # Apache
    (
        rf"(?i)^{_WEEKDAY}([a-z]{{3}})\s+(\d{{1,2}})\s+({_CLOCK})\s*([a-z]{{2,4}})?\s+(\d{{4}})$",
        "${2} ${1} ${5} ${3} ${4}",
    ),
    (r"(?i)\b(\d{1,2})(?:st|nd|rd|th|er|º|°)\b", "${1}"),
    (r"(?i)\s+de\s+", " "),
    (r"(?i),?\s+(?:at|um|à|@)\s+(\d)", " ${1}"),
    (r"(?i)([T ,])(\d{1,2})\s*([ap])\.?m\.?$", "${1}${2}:00 ${3}m"),
    (rf"^({_CLOCK})[ ,]+(\S.*)$", "${2} ${1}"),
    (r"([T ])(\d{1,2})[.h](\d{2})(?:\.(\d{2}))?$", "${1}${2}:${3}:0${4}"),
    (r":0(\d\d)$", ":${1}"),
    (r":0$", ":00"),
    (r"^(\d{4}-\d{2}-\d{2})[-_:]+(\d{1,2}:\d{2})", "${1} ${2}"),
    (r"^(\d{4}) (\d{1,2}) (\d{1,2})\b", "${1}-${2}-${3}"),
    (r"(?i)\s*(?:utc|gmt)\s*([+-])(\d)(?::?(\d{2}))?$", " ${1}0${2}:${3}"),
    (r"(?i)\s*(?:utc|gmt)\s*([+-]\d{2}:?\d{2}|[+-]\d{2})$", " ${1}"),
    (r"(\s[+-]\d{2}):$", "${1}"),
)
_ROUNDED: Final = r"^\d(?:\.\d+)?[eE]\+?\d{1,2}$"


def respelled(cells: pl.Series) -> pl.Series:
    """Return cells in the forms that `times` reads, as far as they are known spellings; others as they are."""
    text = cells
    for found, becomes in _SPELLINGS:
        text = text.str.replace_all(found, becomes)
    zone = text.str.extract(r"\d\s*([A-Z]{3,4})$", 1)
    offset = zone.replace_strict(_ZONES, default=None, return_dtype=pl.String)
    named = offset.is_not_null()
    if named.any():
        text = text.zip_with(~named, text.str.replace(r"\s*[A-Z]{3,4}$", "") + offset)
    return _without_powers(text.str.strip_chars())


def is_rounded(cells: pl.Series) -> pl.Series:
    """Return which cells are numbers with a power of ten, as spreadsheets show long ones: the last digits are lost."""
    return cells.str.contains(_ROUNDED).fill_null(value=False)


def _without_powers(text: pl.Series) -> pl.Series:
    rounded = is_rounded(text)
    if not rounded.any():
        return text
    whole = text.filter(rounded).cast(pl.Float64, strict=False).round(0).cast(pl.Int64, strict=False).cast(pl.String)
    return text.scatter(rounded.arg_true(), whole)
