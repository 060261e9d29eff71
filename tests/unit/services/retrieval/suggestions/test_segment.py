"""Suggestions of rows that never change."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from common.arrays import BoolMask
from services.retrieval.suggestions.segment import Matches, PopularityScale, Segment
from services.retrieval.suggestions.typed_text import TypedText

TITLES = ["oat milk", "rye bread", "milk chocolate", "牛奶 milk"]
POPULARITY = np.array([3.0, 1.0, 0.0, 7.0], np.float32)
ALL = np.ones(4, dtype=np.bool_)


@pytest.fixture
def segment() -> Segment:
    """Return four titles, of which one has no category."""
    return Segment(10, TITLES, ["dairy", "bakery", "", "dairy"], POPULARITY)


def found(segment: Segment, matches: Matches) -> list[str]:
    texts = [*TITLES, *segment.category_names]
    return [texts[document] for document in matches.documents.tolist()]


def test_documents_have_every_typed_word_in_any_order(segment: Segment):
    allowed = segment.allowed(ALL)
    assert found(segment, segment.exact(TypedText.read("mi"), allowed)) == ["oat milk", "milk chocolate", "牛奶 milk"]
    assert found(segment, segment.exact(TypedText.read("milk oa"), allowed)) == ["oat milk"]
    assert found(segment, segment.exact(TypedText.read("牛奶"), allowed)) == ["牛奶 milk"]
    assert found(segment, segment.exact(TypedText.read("da"), allowed)) == ["dairy"]
    begins = segment.exact(TypedText.read("mi"), allowed).begins
    assert begins.tolist() == [False, True, False]


def test_one_word_or_all_are_corrected(segment: Segment):
    """One corrected word leaves out what matches as typed; two wrong words are found only if all may be wrong."""
    allowed = segment.allowed(ALL)
    one = segment.one_corrected(TypedText.read("milk choclate"), allowed)
    assert found(segment, one) == ["milk chocolate"]
    assert one.corrected == 1
    assert not len(segment.one_corrected(TypedText.read("oat"), allowed).documents)
    typed = TypedText.read("mlik choclate")
    assert not len(segment.one_corrected(typed, allowed).documents)
    assert found(segment, segment.all_corrected(typed, allowed)) == ["milk chocolate"]


def test_a_text_of_many_words_takes_no_more_memory():
    """A text of 200 Chinese characters is as many words; masks of all of them would be 40 MB here."""
    characters = "".join(chr(0x4E00 + at) for at in range(200))
    rows = 200_000
    segment = Segment(0, [characters, characters[:-1], *[""] * (rows - 2)], [""] * rows, np.ones(rows, np.float32))
    typed, allowed = TypedText.read(characters), segment.allowed(np.ones(rows, np.bool_))
    tracemalloc.start()
    try:
        exact = segment.exact(typed, allowed).documents
        one = segment.one_corrected(typed, allowed).documents
        both = segment.all_corrected(typed, allowed).documents
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (exact.tolist(), one.tolist(), both.tolist()) == ([0], [], [0])
    assert peak_bytes < 20 * rows


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([True, True, True, True], ["bakery", "dairy"]),
        ([False, True, True, True], ["bakery", "dairy"]),
        ([False, False, True, False], []),
    ],
)
def test_a_category_needs_an_allowed_item(segment: Segment, rows: list[bool], expected: list[str]):
    mask: BoolMask = segment.allowed(np.array(rows))
    assert mask[:4].tolist() == rows
    assert [name for name, allowed in zip(segment.category_names, mask[4:], strict=True) if allowed] == expected


def test_popularity_is_relative_to_the_most_popular(segment: Segment):
    """Titles and categories have scales of their own; another segment's can be given."""
    assert segment.popularity[:4] == pytest.approx(np.log1p(POPULARITY) / np.log1p(7.0))
    assert segment.popularity[4:] == pytest.approx([np.log1p(1.0) / np.log1p(10.0), 1.0])
    scaled = Segment(0, ["a", "b"], ["", ""], np.array([3.0, 99.0], np.float32), PopularityScale(15.0, 15.0))
    assert scaled.popularity == pytest.approx([0.5, 1.0])


def test_nothing_is_found_in_nothing():
    empty = Segment(0, [], [], np.empty(0, np.float32))
    allowed = empty.allowed(np.empty(0, np.bool_))
    assert not len(empty.exact(TypedText.read("milk"), allowed).documents)
    assert not len(empty.one_corrected(TypedText.read("milk"), allowed).documents)
