"""Stems of words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.retrieval.catalogue.stemming import query_stems, stem, title_stems


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("handles", "handl"),
        ("handle", "handl"),
        ("mowers", "mower"),
        ("500", "500"),
        ("牛奶", "牛奶"),
        ("cafés", "cafés"),
    ],
)
def test_forms_of_an_english_word_have_one_stem(word: str, expected: str):
    """Numbers and words with other letters stay as they are."""
    assert stem(word) == expected


def test_titles_and_queries_are_split_alike():
    """Words are split and folded first, then stemmed; titles have single ideographs too."""
    assert title_stems("Oven HANDLES 30in 牛奶") == ["oven", "handl", "30", "in", "牛", "奶", "牛奶"]
    assert query_stems("oven handle 牛奶") == ["oven", "handl", "牛奶"]


def test_threads_do_not_disturb_one_another():
    """Many threads at once find the stems that one alone finds."""
    words = [
        f"{first}{second}{ending}" for first in "bdfgm" for second in "aeiou" for ending in ("nding", "lls", "ted")
    ]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(stem, words * 40)) == [stem(word) for word in words] * 40
