"""The sentences of reasons in each language."""

from __future__ import annotations

import string
from dataclasses import asdict
from typing import Any

import pytest

from services.gateway.recommendation.reason_texts import ENGLISH, LANGUAGES, texts_of
from services.gateway.recommendation.reasons import ReasonKind
from services.gateway.related_items.plan import RELATED_TO_CART, SIMILAR_ITEMS


def _blanks(texts: Any) -> Any:
    """Return the names of the blanks of each sentence, at its place."""
    if isinstance(texts, dict):
        return {key: _blanks(text) for key, text in texts.items()}
    if isinstance(texts, tuple | list):
        return [_blanks(text) for text in texts]
    return {name for _, name, _, _ in string.Formatter().parse(texts) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_every_sentence(language: str):
    """The same ones as English, none empty, and each with the same blanks, apart from how often."""
    own, english = asdict(LANGUAGES[language]), asdict(ENGLISH)
    assert own.pop("language") == language
    del english["language"], own["times"], english["times"]
    assert _blanks(own) == _blanks(english)
    assert all(text for text in (*own["fixed"].values(), *own["near"].values(), *own["done"].values()))


@pytest.mark.parametrize("texts", LANGUAGES.values(), ids=LANGUAGES)
def test_each_reason_has_a_sentence(texts: Any):
    """Kinds without a blank are fixed; each list of a plan has its own."""
    with_blanks = {"IN_HISTORY", "SEMANTIC", "LEXICAL", "LONG_TAIL_SHARE", "NEW_ITEM_SHARE"}
    assert set(texts.fixed) == set(ReasonKind) - with_blanks
    for plan in (SIMILAR_ITEMS, RELATED_TO_CART):
        for each in plan.lists:
            assert texts.near[plan.name, each.reason]


@pytest.mark.parametrize(
    ("tag", "language"),
    [("", "en"), ("en", "en"), ("zh", "zh"), ("zh-CN", "zh"), ("ZH_hans", "zh"), ("fr", "en"), ("zha", "en")],
)
def test_a_tag_selects_a_language(tag: str, language: str):
    """Its first part does, without case; a language without sentences is English."""
    assert texts_of(tag).language == language


def test_counts_are_written_as_the_language_does():
    """Once, twice and more, the kinds of event in the order of their strength."""
    counts = {1: 3, 3: 2}
    assert texts_of("en").done_before(counts) == "bought twice, viewed 3 times before"
    assert texts_of("zh").done_before(counts) == "曾购买2次、浏览3次"
