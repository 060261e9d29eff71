"""What a user has typed, as words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from common.errors import InvalidRequest
from common.text import query_words

MAX_TYPED_CHARACTERS: Final = 200
MAX_SUGGESTIONS: Final = 50
DEFAULT_SUGGESTIONS: Final = 10


class TypedWord(NamedTuple):
    """One word, and whether it may go on."""

    text: str
    is_prefix: bool


@dataclass(frozen=True)
class TypedText:
    """The distinct words of a text, at least one.

    The last word may go on, unless something that is no part of a word follows it. Chinese and Japanese, which are
    written without spaces, are pairs of characters, which do not go on.
    """

    words: tuple[TypedWord, ...]

    @classmethod
    def read(cls, text: str) -> TypedText:
        """Read a text; raises InvalidRequest if it is too long or has no word."""
        if len(text) > MAX_TYPED_CHARACTERS:
            raise InvalidRequest(f"text: {len(text):,} characters; at most {MAX_TYPED_CHARACTERS}")
        words = query_words(text)
        if not words:
            raise InvalidRequest("text: has no letter or digit; call when the user has typed one")
        goes_on = query_words(text + "x")[-1] == words[-1] + "x" or query_words(text + "0")[-1] == words[-1] + "0"
        distinct = dict.fromkeys(words[:-1])
        distinct.pop(words[-1], None)
        return cls((*(TypedWord(word, is_prefix=False) for word in distinct), TypedWord(words[-1], is_prefix=goes_on)))


def check_limit(limit: int) -> None:
    """Raise InvalidRequest if a limit is not a number of suggestions that may be asked for."""
    if not 1 <= limit <= MAX_SUGGESTIONS:
        raise InvalidRequest(f"limit: {limit} is not 1 to {MAX_SUGGESTIONS}; leave it unset for {DEFAULT_SUGGESTIONS}")
