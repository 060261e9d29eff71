"""The texts of items and users that the models read, the same offline and online.

The encoder and the cross-encoder read only these texts, so a change here needs a new release.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

MAX_QUERY_CHARACTERS: Final = 1_000
MAX_TEXT_CHARACTERS: Final = 20_000
_DESCRIPTION_CHARACTERS: Final = 300
# Chinese and Japanese are written without spaces.
IDEOGRAPHS: Final = "\u3040-\u30ff\u3400-\u9fff"
_IDEOGRAPH: Final = rf"(?=\w)[{IDEOGRAPHS}\U00020000-\U0003ffff]"
_PART: Final = re.compile(rf"((?:{_IDEOGRAPH})+)|\d+|(?:(?!{_IDEOGRAPH})[^\W\d_])+")
# NFKC would write these signs as letters at the end of a name: NikeTM.
_SIGNS: Final = str.maketrans(dict.fromkeys("\u2120\u2122", " "))
# NFKC would join a fraction to the number before it: 1\u00bd would be 11/2.
_FRACTION: Final = re.compile("([\u00bc-\u00be\u2150-\u215f\u2189])")
# Variation selectors choose how the character before them is drawn.
_VARIATIONS: Final = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))


class SpelledWord(NamedTuple):
    """A word of a text, and where it stands.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        folded: The word without case, as `title_words` has it.
        is_plain: Whether it can be misspelled: letters, no Chinese or Japanese, and no digit between it and the next
            space, as model numbers have.
    """

    start: int
    end: int
    folded: str
    is_plain: bool


def item_text(title: str, brand: str = "", category: str = "", description: str = "") -> str:
    """Return the text of an item in normal form: title, brand and category (unless the title has them), description.

    The description is truncated to 300 characters: both models read at most a few dozen tokens of an item.
    """
    in_title = folded(title)
    parts = [normalised(title)]
    parts += [normalised(part) for part in (brand, category) if folded(part) not in in_title]
    parts.append(normalised(description)[:_DESCRIPTION_CHARACTERS].rstrip())
    return ". ".join(part for part in parts if part)


def normalised(text: str) -> str:
    """Return a text in the form in which texts are compared and the models read them; the case is kept.

    Unicode's NFKC writes full-width letters and digits as half-width ones (https://unicode.org/reports/tr15/).
    Characters that are not seen, such as zero-width spaces, are left out. Control characters and the signs of
    trademarks become spaces, and spaces single. Fractions of one character become "1/2", apart from a number before.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    seen = "".join(map(_as_seen, _FRACTION.sub(r" \1", text).translate(_SIGNS)))
    return " ".join(unicodedata.normalize("NFKC", seen).replace("\u2044", "/").split())


def folded(text: str) -> str:
    """Return the normal form without case. Folding can take a text out of NFKC, so it is normalised again."""
    without_case = normalised(text).casefold()
    return without_case if without_case.isascii() else unicodedata.normalize("NFKC", without_case)


def title_words(title: str) -> list[str]:
    """Return the words of a title for lexical search, case-folded, letters apart from digits.

    Chinese and Japanese give each character and each two that follow one another, as Lucene's CJKBigramFilter with
    `outputUnigrams` does.
    """
    return _words(title, single_characters=True)


def query_words(query: str) -> list[str]:
    """Return the words that titles are searched for.

    Those of `title_words`, but a single Chinese or Japanese character only where it stands alone: a search for milk
    (two characters, the first of which is "cow") must not find beef.
    """
    return _words(query, single_characters=False)


def spelled_words(text: str) -> list[SpelledWord]:
    """Return the words of a text in normal form, each with its place; Chinese and Japanese in runs."""
    found = []
    for token in re.finditer(r"\S+", text):
        has_digit = any(character.isdecimal() for character in token.group())
        for part in _PART.finditer(text, token.start(), token.end()):
            is_plain = not has_digit and part.group(1) is None
            found.append(SpelledWord(part.start(), part.end(), folded(part.group()), is_plain))
    return found


def _words(text: str, *, single_characters: bool) -> list[str]:
    found: list[str] = []
    for part in _PART.finditer(folded(text)):
        run = part.group()
        if part.group(1) is None or len(run) == 1:
            found.append(run)
            continue
        if single_characters:
            found.extend(run)
        found.extend(run[start : start + 2] for start in range(len(run) - 1))
    return found


def _as_seen(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    return "" if category == "Cf" or character in _VARIATIONS else character


def recent_distinct(history: Sequence[int], count: int) -> list[int]:
    """Return the last ``count`` distinct entries of a history given oldest first, the most recent first."""
    return list(dict.fromkeys(reversed(history)))[:count]


def context_text(query: str, history_titles: Iterable[str]) -> str:
    """Return the user context that the models read, in normal form: the query, then titles, the most recent first.

    The most recent comes first because the tokenizer truncates at the end.
    """
    parts = [normalised(query), "; ".join(filter(None, map(normalised, history_titles)))]
    return " | ".join(part for part in parts if part)


def cut_middle(text: str, max_characters: int) -> str:
    """Return a text of bounded length: its beginning and its end, and how many characters between were left out."""
    if len(text) <= max_characters:
        return text
    kept = max_characters - 40  # room for the note
    end = kept // 3
    return f"{text[: kept - end]} … ({len(text) - kept} characters left out) … {text[-end:]}"
