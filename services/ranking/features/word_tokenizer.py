"""Splits texts into words, the same way for queries and items: fractions as decimals, one name for each unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from common.text import IDEOGRAPHS, folded

# Each ideograph counts as a word.
_WORD: Final = re.compile(rf"\d+(?:\.\d+)?|\.\d+|[{IDEOGRAPHS}]|[^\W\d_{IDEOGRAPHS}]+|[,(;:]")
_MIXED: Final = re.compile(r"(?:\b(\d{1,6})[\s-]+)?\b(\d{1,6})\s*/\s*(\d{1,6})\b")
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}\b)")
_INCHES: Final = re.compile("(?<=\\d)\\s*(?:\"|\u201d|\u2033|\u2032\u2032|'')")
_FEET: Final = re.compile("(?<=\\d)\\s*['\u2019\u2032](?!\\w)")
# Words that end the head of a text, which names the thing: "Chair *with* Blue Cushions", "Cabinet *in* White".
_HEAD_ENDS: Final = frozenset(("with", "in", "for", ",", "(", ";", ":"))
_FUNCTION_WORDS: Final = frozenset(("a", "an", "and", "at", "by", "from", "of", "on", "or", "the", "to", "x", "w"))
_UNITS: Final = {
    name: unit
    for unit, names in {
        "inch": "in inch inches",
        "ft": "ft foot feet",
        "yd": "yd yds yard yards",
        "lb": "lb lbs pound pounds",
        "oz": "oz ounce ounces",
        "gal": "gal gallon gallons",
        "qt": "qt quart quarts",
        "watt": "w watt watts",
        "volt": "v volt volts",
        "amp": "a amp amps",
        "sq": "sq square",
        "cu": "cu cubic",
        "gauge": "ga gauge",
        "pack": "pk pack packs",
    }.items()
    for name in names.split()
}
_HALF_UNITS: Final = frozenset(("sq", "cu"))  # another unit follows


@dataclass(frozen=True)
class TextWords:
    """The words of a text.

    Attributes:
        all: The words in order, without function words.
        head: How many of them are in the head, the part before a "with", "for" or comma.
        subject: The index of the word that names the thing: the last word of the head that is no measure; -1 for none.
    """

    all: tuple[str, ...]
    head: int
    subject: int


@lru_cache(maxsize=4_096)
def words_of(text: str) -> TextWords:
    """Split a text into words.

    Letters and digits are separated ("4x8wood" is 4, 8, wood), fractions become decimals ("1-1/2" is 1.5), and units
    after a number get one name ("36 in.", "36 inches" and '36"' are 36, inch).
    """
    words: list[str] = []
    head, measured, subject = -1, False, -1
    for found in _WORD.findall(_plain(text)):
        if measured and found in _UNITS:
            words.append(_UNITS[found])
            measured = _UNITS[found] in _HALF_UNITS
            continue
        measured = is_number(found)
        if found in _HEAD_ENDS:
            head = len(words) if head < 0 and words else head
        elif found not in _FUNCTION_WORDS:
            subject = len(words) if head < 0 and not measured else subject
            words.append(_number(found) if measured else found)
    return TextWords(tuple(words), len(words) if head < 0 else head, subject)


def is_number(word: str) -> bool:
    """Return whether a word is a number."""
    return word[-1:].isdecimal()


def _plain(text: str) -> str:
    text = _FEET.sub(" ft ", _INCHES.sub(" in ", _THOUSANDS.sub("", folded(text))))
    return _MIXED.sub(_decimal, text)


def _decimal(found: re.Match[str]) -> str:
    whole, numerator, denominator = (int(part or 0) for part in found.groups())
    return f"{whole + numerator / denominator:.4f}" if denominator else found[0]


def _number(word: str) -> str:
    whole, point, rest = word.partition(".")
    return f"{whole or 0}{point}{rest}".rstrip("0").rstrip(".") if point else word
