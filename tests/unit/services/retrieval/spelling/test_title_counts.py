"""How many titles have words, alone and together."""

from __future__ import annotations

from collections.abc import Callable

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item
from services.retrieval.sources.bm25 import TitleBm25
from services.retrieval.spelling.title_counts import CatalogueWords, ReleaseWords


def test_titles_of_the_release_and_added_ones_count(titles_of: Callable[..., TitleBm25], stage: FirstStage):
    """Counts are those of counting by hand, before and after items are added."""
    release = ReleaseWords(titles_of(["red mug red", "blue mug", "red cup"], "acme"))
    before = CatalogueWords(release, stage.snapshot.delta)
    assert (before.titles, before.count("red"), before.count("green")) == (3, 2, 0)
    assert (before.together("red", "mug"), before.together("blue", "cup")) == (1, 0)
    assert "acme" in before
    assert "green" not in before
    stage.writer.upsert([Item("new", "green mug red")])
    after = CatalogueWords(release, stage.snapshot.delta)
    assert (after.titles, after.count("red"), after.count("green"), after.together("red", "mug")) == (4, 3, 1, 2)
    assert {near.word for near in after.near("greem", 1)} == {"green"}
    assert {near.word for near in after.near("rod", 1)} == {"red"}
