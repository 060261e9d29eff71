"""Suggestions of a catalogue that changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from common.errors import InvalidRequest
from services.retrieval.candidates.completion import complete
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.suggestions.live_suggestions import Suggestion
from services.retrieval.suggestions.typed_text import TypedText

OpenShop = Callable[..., FirstStage]


@pytest.fixture
def stage(open_shop: OpenShop, feed: ChangeFeed) -> FirstStage:
    return open_shop(feed, options=FirstStageOptions(suggestions=True))


def suggest(stage: FirstStage, text: str, limit: int = 10) -> list[Suggestion]:
    assert stage.suggestions is not None
    return complete(stage, stage.suggestions.result(), TypedText.read(text), limit)


def texts(stage: FirstStage, text: str, limit: int = 10) -> list[str]:
    return [each.text for each in suggest(stage, text, limit)]


def test_a_title_of_several_items_is_suggested_once(stage: FirstStage):
    """With the most popular of the items."""
    (milk,) = suggest(stage, "mil")
    assert (milk.text, milk.kind, milk.item_id, milk.corrected_words) == ("fresh milk", "title", "milk-1", 0)
    assert milk.popularity == pytest.approx(1.0)


def test_the_popular_and_those_that_begin_so_come_first(stage: FirstStage):
    """Popularity orders titles; one that begins with the typed word passes a more popular one that does not."""
    assert texts(stage, "rye") == ["rye bread", "rye roll"]
    assert texts(stage, "ha") == ["hand soap", "hard cheese"] or texts(stage, "ha") == ["hard cheese", "hand soap"]
    assert texts(stage, "h", limit=1) == ["hard cheese"]
    assert [each.kind for each in suggest(stage, "dairy")] == ["category"]


def test_what_was_typed_wrong_comes_after_what_was_typed_right(stage: FirstStage):
    stage.writer.upsert([Item("mill", "pepper mill")])
    assert texts(stage, "mill") == ["pepper mill", "fresh milk"]
    assert [each.corrected_words for each in suggest(stage, "mill")] == [0, 1]
    assert texts(stage, "frehs mlik") == ["fresh milk"]
    assert suggest(stage, "frehs mlik")[0].corrected_words == 2


def test_upserts_and_removals_are_seen(stage: FirstStage):
    """Added, renamed, sold out and removed items, and categories that come and go with them."""
    stage.writer.upsert([Item("tea", "green tea", category="drinks")])
    assert texts(stage, "gre") == ["green tea"]
    assert texts(stage, "drinks") == ["drinks"]
    stage.writer.upsert([Item("tea", "black tea", category="drinks")])
    assert texts(stage, "gre") == []
    assert texts(stage, "tea") == ["black tea"]
    stage.writer.upsert([Item("bread", "wheat bread", category="bakery")])
    assert texts(stage, "bread") == ["wheat bread"]
    assert suggest(stage, "bread")[0].popularity > 0.9  # it is as popular as before
    stage.writer.upsert([Item("tea", "black tea", category="drinks", available=False)])
    assert texts(stage, "tea") == texts(stage, "drinks") == []
    stage.writer.delete(["cheese"])
    assert texts(stage, "chees") == []


def test_many_small_changes_are_found_after_merges_and_compaction(stage: FirstStage):
    """Segments are merged as they grow; a compaction renumbers rows, and everything is still there."""
    for number in range(20):
        stage.writer.upsert([Item(f"cup-{number}", f"cup {chr(97 + number)}{chr(97 + number)}")])
        assert len(texts(stage, "cup", limit=50)) == number + 1
    suggestions = stage.suggestions
    assert suggestions is not None
    assert len(suggestions.result()._added) <= 5
    stage.writer.delete([f"cup-{number}" for number in range(0, 20, 2)])
    stage.wait_for_maintenance()
    assert set(texts(stage, "cup", limit=50)) == {f"cup {chr(97 + at)}{chr(97 + at)}" for at in range(1, 20, 2)}


def test_fewer_are_read_than_there_are(stage: FirstStage):
    """A title of many items leaves room for the others, however few are read at a time."""
    stage.writer.upsert([Item(f"m-{number}", "oat milk") for number in range(300)])
    assert texts(stage, "milk", limit=2) == ["fresh milk", "oat milk"]


def test_the_limit_is_checked(stage: FirstStage):
    with pytest.raises(InvalidRequest, match="limit"):
        suggest(stage, "milk", limit=0)
