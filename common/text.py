"""The texts of items and users that the models read, the same offline and online.

The encoder and the cross-encoder read only these texts, so a change here needs a new release.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

MAX_QUERY_CHARACTERS: Final = 1_000
MAX_TEXT_CHARACTERS: Final = 20_000
_DESCRIPTION_CHARACTERS: Final = 300
_WORD: Final = re.compile(r"\w+")


def item_text(title: str, brand: str = "", category: str = "", description: str = "") -> str:
    """Return the text of an item: title, brand and category (unless the title has them), and description.

    The description is truncated to 300 characters: both models read at most a few dozen tokens of an item.
    """
    folded = title.casefold()
    parts = [title.strip()]
    parts += [part.strip() for part in (brand, category) if part.strip() and part.strip().casefold() not in folded]
    if description.strip():
        parts.append(description.strip()[:_DESCRIPTION_CHARACTERS])
    return ". ".join(part for part in parts if part)


def words(text: str) -> list[str]:
    """Return the words of a text for lexical search: letters, digits and underscores, case-folded."""
    return _WORD.findall(text.casefold())


def recent_distinct(history: Sequence[int], count: int) -> list[int]:
    """Return the last ``count`` distinct entries of a history given oldest first, the most recent first."""
    return list(dict.fromkeys(reversed(history)))[:count]


def context_text(query: str, history_titles: Iterable[str]) -> str:
    """Return the user context that the models read: the query, then titles of the history, most recent first.

    The most recent comes first because the tokenizer truncates at the end.
    """
    parts = [query.strip(), "; ".join(title.strip() for title in history_titles if title.strip())]
    return " | ".join(part for part in parts if part)


def cut_middle(text: str, max_characters: int) -> str:
    """Return a text of bounded length: its beginning and its end, and how many characters between were left out."""
    if len(text) <= max_characters:
        return text
    kept = max_characters - 40  # room for the note
    end = kept // 3
    return f"{text[: kept - end]} … ({len(text) - kept} characters left out) … {text[-end:]}"
