"""The words of suggestions, against a plain edit distance."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.retrieval.suggestions.vocabulary import Vocabulary

WORD = st.text("abcä牛", min_size=1, max_size=7)


def distance(left: str, right: str) -> int:
    """Return the Damerau-Levenshtein distance (optimal string alignment), by its recurrence."""
    table = [[row + column for column in range(len(right) + 1)] for row in range(len(left) + 1)]
    for row in range(1, len(left) + 1):
        for column in range(1, len(right) + 1):
            costs = [
                table[row - 1][column] + 1,
                table[row][column - 1] + 1,
                table[row - 1][column - 1] + (left[row - 1] != right[column - 1]),
            ]
            if row > 1 and column > 1 and left[row - 2 : row] == right[column - 2 : column][::-1]:
                costs.append(table[row - 2][column - 2] + 1)
            table[row][column] = min(costs)
    return table[-1][-1]


@given(st.sets(WORD), WORD)
def test_words_are_found_by_themselves_and_by_prefix(words: set[str], typed: str):
    """Ids are positions in the sorted words."""
    ordered = sorted(words)
    vocabulary = Vocabulary(ordered)
    assert len(vocabulary) == len(words)
    assert [ordered[word] for word in vocabulary.find(typed, is_prefix=False)] == [typed][: typed in words]
    expected = [word for word in ordered if word.startswith(typed)]
    assert [ordered[word] for word in vocabulary.find(typed, is_prefix=True)] == expected


@given(st.sets(WORD), WORD)
def test_whole_words_within_one_edit_are_found(words: set[str], typed: str):
    """All words within one edit and no others; typed words of one or two characters must be right."""
    ordered = sorted(words)
    found = {ordered[word] for word in Vocabulary(ordered).near(typed, is_prefix=False)}
    assert found == {word for word in words if len(typed) >= 3 and distance(word, typed) <= 1}


@given(st.sets(WORD), WORD)
def test_beginnings_within_one_edit_are_found(words: set[str], typed: str):
    """All words of which a beginning is within one edit, and no others; three typed characters must be right."""
    ordered = sorted(words)
    found = {ordered[word] for word in Vocabulary(ordered).near(typed, is_prefix=True)}
    begins = {word for word in words if min(distance(word[:end], typed) for end in range(len(word) + 1)) <= 1}
    assert found == {word for word in begins if len(typed) >= 4}


def test_long_words_are_compared_by_their_beginning():
    """Twenty characters decide; the answer is the same when it comes from the cache."""
    words = sorted(["donaudampfschifffahrtsgesellschaft", "donaudampfschifffahrtsamt", "donau"])
    vocabulary = Vocabulary(words)
    for _ in range(2):
        found = vocabulary.near("donaudampfschiffahrtsamt", is_prefix=False)
        assert [words[word] for word in found] == words[1:]
    assert not len(Vocabulary([]).near("donau", is_prefix=True))
