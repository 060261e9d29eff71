"""What a user has typed, as words."""

from __future__ import annotations

import pytest

from common.errors import InvalidRequest
from services.retrieval.suggestions.typed_text import TypedText, check_limit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Oat mi", [("oat", False), ("mi", True)]),
        ("oat milk ", [("oat", False), ("milk", False)]),
        ("500m", [("500", False), ("m", True)]),
        ("milk 5", [("milk", False), ("5", True)]),
        ("ＭＩＬＫ", [("milk", True)]),
        ("牛奶粉", [("牛奶", False), ("奶粉", False)]),
        ("牛", [("牛", False)]),
        ("milk oat milk", [("oat", False), ("milk", True)]),
        ("milk-", [("milk", False)]),
    ],
)
def test_the_last_word_may_go_on(text: str, words: list[tuple[str, bool]]):
    """Words are those of titles, each once; what follows the last one decides whether it is complete."""
    assert list(TypedText.read(text).words) == words


@pytest.mark.parametrize(("text", "said"), [("", "no letter or digit"), (" -?", "no letter"), ("a" * 201, "201")])
def test_a_text_that_cannot_be_completed_is_refused(text: str, said: str):
    with pytest.raises(InvalidRequest, match=f"text: .*{said}"):
        TypedText.read(text)


@pytest.mark.parametrize("limit", [0, 51])
def test_the_number_of_suggestions_is_bounded(limit: int):
    with pytest.raises(InvalidRequest, match=f"limit: {limit} is not 1 to 50"):
        check_limit(limit)
