"""The repair of queries' spelling, through the first stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.sources.bm25 import TitleBm25
from services.retrieval.spelling.query_repair import QueryRepair


def _searched(stage: FirstStage, query: str, **fields: Any) -> str:
    (found,) = stage.retrieve([Request(query=query, **fields)])
    return found.query


@pytest.mark.parametrize(
    ("query", "repaired"),
    [
        ("toliet seat", "toilet seat"),
        ("white TOILE", "white toilet"),
        ("showr curtin", "shower curtain"),
        ("mlk", "milk"),
        ("akita jig saw", "makita jig saw"),
        ("(toliet)-brush!", "(toilet)-brush!"),
        ("ｔｏｌｉｅｔ", "toilet"),
        ("walloven", "wall oven"),
        ("shoowwer curtein 牛奶", "shower curtain 牛奶"),
        ("sea", "seat"),
    ],
)
def test_words_that_the_catalogue_lacks_become_its_nearest(stage: FirstStage, query: str, repaired: str):
    """Letters too many, too few, wrong or swapped are repaired, and a space that is missing; all else stays."""
    assert _searched(stage, query) == repaired


@pytest.mark.parametrize(
    "query",
    [
        "toilet seat",
        "toilett",  # a brand
        "showered",  # a word of a description
        "toilets",  # a plural
        "tolit200",
        "gw-300 tolet-5x",
        "30 31",
        "牛奴",
        "tod",  # of three letters, only a lost one is repaired
        "refrigerator",
        "t",
        "",
    ],
)
def test_what_is_never_changed(stage: FirstStage, query: str):
    """Known words of any field, numbers, model numbers, Chinese, and words that none is near stay as they are."""
    assert _searched(stage, query) == query


def test_neighbours_decide_between_words(titles_of: Callable[..., TitleBm25], stage: FirstStage):
    """Of two words as near as one another, the one that goes with its neighbour is taken, though it is rarer."""
    repair = QueryRepair(titles_of(["wood plank", "wood plank", "wood plank", "garden plant"]), frozenset())
    delta = stage.snapshot.delta
    assert repair.repair("wood plang", delta) == "wood plank"
    assert repair.repair("garden plang", delta) == "garden plant"
    assert repair.repair("plang", delta) == "plank"


def test_words_that_the_encoder_knows_are_spelt_right(titles_of: Callable[..., TitleBm25], stage: FirstStage):
    """A shop without bears is not asked for bars."""
    titles, delta = titles_of(["gummy bars"]), stage.snapshot.delta
    assert QueryRepair(titles, frozenset()).repair("gummy bears", delta) == "gummy bars"
    repair = QueryRepair(titles, frozenset({"bears"}))
    assert repair.repair("gumy bears", delta) == "gummy bears"
    assert repair.is_known("gummy bears", delta)


def test_both_sources_search_for_the_repaired_query(stage: FirstStage):
    """Words and meaning find for the wrong spelling what they find for the right one."""
    right, wrong = stage.retrieve([Request(query="toilet seat"), Request(query="toliet saet")])
    assert wrong.item_ids == right.item_ids
    np.testing.assert_allclose(wrong.source_scores, right.source_scores)
    assert (right.is_corrected, wrong.is_corrected) == (False, True)


def test_a_caller_can_refuse(stage: FirstStage):
    """With `keep_query` the query is searched for as it is spelled."""
    (found,) = stage.retrieve([Request(query="toliet", keep_query=True, sources=["lexical"])])
    assert (found.query, found.is_corrected) == ("toliet", False)


def test_words_of_added_items_are_known(stage: FirstStage):
    """An upserted item's words are no errors from then on, and errors are repaired to those of its title."""
    assert _searched(stage, "toliets") == "toilet"
    stage.writer.upsert([Item("new", "toliets fridge", "umbra")])
    assert _searched(stage, "toliets") == "toliets"
    assert _searched(stage, "umbra") == "umbra"
    assert _searched(stage, "frigde") == "fridge"
    assert _searched(stage, "toliets frigde") == "toliets fridge"


def test_a_query_costs_a_bounded_number_of_repairs(stage: FirstStage):
    """After eight words that are unknown, the others are left as they are."""
    assert _searched(stage, "toliet " * 10) == "toilet " * 8 + "toliet toliet"


def test_a_repair_does_not_make_a_query_too_long(stage: FirstStage):
    """A repair that made the query longer than requests may be is left out: ranking would refuse it."""
    longest = f"toilt {'9' * 994}"
    assert len(longest) == 1_000
    assert _searched(stage, longest) == longest
    assert _searched(stage, longest[:-1]) == f"toilet {'9' * 993}"


def test_without_the_words_of_a_release_nothing_is_repaired(shop: FirstStage):
    """A release that was built before the repair answers queries as they are."""
    assert not shop.needs_repair(Request(query="mlik"), shop.snapshot)
    assert _searched(shop, "fresh mlik") == "fresh mlik"
