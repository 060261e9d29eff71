"""Items with the same text as one, on a small live catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.release.store import open_release
from services.retrieval.candidates.distinct_texts import first_of_each, share_scores
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.local_feed import LocalFeed

NAN = np.nan


@pytest.fixture
def stage(tiny_release: Path, tmp_path: Path):
    """Return a first stage of the tiny shop, in which two of three products of a kind share a text."""
    stage = FirstStage.load(open_release(str(tiny_release)), feed=LocalFeed(tmp_path))
    yield stage
    stage.close()


def _texts(stage: FirstStage, **fields: object) -> list[str]:
    found = stage.retrieve([Request(**fields)])[0]  # type: ignore[arg-type]
    return [item.text for item in found.snapshot.items_at(found.rows)]


def test_each_text_is_a_candidate_once(stage: FirstStage):
    """By default items share texts; as one, a longer list of texts comes back."""
    asked = {"query": "fresh milk", "history_item_ids": ["dairy-milk-red-0", "fruit-pear-red-1"], "limit": 60}
    assert len(set(_texts(stage, **asked))) < 60
    distinct = _texts(stage, **asked, distinct_texts=True)
    assert len(distinct) == len(set(distinct)) == 60


def test_the_best_scored_item_of_a_text_stays(stage: FirstStage):
    """It is the item that comes first if copies are kept and have the same scores of the text sources."""
    history = ["dairy-milk-red-1"] * 3 + ["dairy-milk-fresh-0"]
    request = Request(query="red milk", history_item_ids=history, limit=1_000, distinct_texts=True)
    found = stage.retrieve([request])[0]
    ids = found.item_ids
    assert "dairy-milk-red-1" in ids  # bought before, while its copy was not
    assert "dairy-milk-red-0" not in ids
    assert (np.diff(found.scores) <= 0).all()


def test_a_copy_has_the_scores_of_its_text(stage: FirstStage):
    """An item that a graph found has the semantic score of its text, whichever copy that source returned."""
    history = ["dairy-milk-red-1"] * 3
    request = Request(query="red milk", history_item_ids=history, limit=200, distinct_texts=True)
    found = stage.retrieve([request])[0]
    plain = stage.retrieve([Request(query="red milk", history_item_ids=history, limit=200)])[0]
    column = found.sources.index("semantic")
    scores = {
        each: dict(zip(result.item_ids, result.source_scores[:, column].tolist(), strict=True))
        for each, result in (("distinct", found), ("plain", plain))
    }
    assert scores["distinct"]["dairy-milk-red-1"] == pytest.approx(scores["plain"]["dairy-milk-red-1"], abs=1e-6)


def test_the_history_is_left_out_with_its_copies(stage: FirstStage):
    """As ids alone the copy stays; as texts it goes too, and other texts stay."""
    history, copy = ["dairy-milk-red-0"], "dairy-milk-red-1"
    asked = {"query": "red milk", "history_item_ids": history, "limit": 500, "exclude_history": True}
    by_id = stage.retrieve([Request(**asked)])[0].item_ids  # type: ignore[arg-type]
    by_text = stage.retrieve([Request(**asked, distinct_texts=True)])[0].item_ids  # type: ignore[arg-type]
    assert (history[0] in by_id, copy in by_id) == (False, True)
    assert (history[0] in by_text, copy in by_text) == (False, False)
    assert "dairy-milk-red-2" in by_text  # another brand


def test_a_replaced_copy_with_another_text_is_another_item(stage: FirstStage):
    """Once a copy has its own text it is neither collapsed with the others nor left out with them."""
    stage.writer.upsert([Item("dairy-milk-red-1", "oat drink", brand="acme", category="dairy")])
    asked = {"query": "red milk", "history_item_ids": ["dairy-milk-red-0"], "limit": 500, "distinct_texts": True}
    ids = stage.retrieve([Request(**asked)])[0].item_ids  # type: ignore[arg-type]
    assert {"dairy-milk-red-0", "dairy-milk-red-1"} <= set(ids)
    others = stage.retrieve([Request(**asked, exclude_history=True)])[0].item_ids  # type: ignore[arg-type]
    assert "dairy-milk-red-1" in others
    assert "dairy-milk-red-0" not in others


def test_a_filter_keeps_the_best_copy_that_passes(stage: FirstStage):
    """The more popular copy may not be for sale: then the other one is the text's item."""
    copies = ["dairy-milk-red-0", "dairy-milk-red-1"]
    for gone, kept in (copies, copies[::-1]):
        ids = stage.retrieve([Request(query="red milk", limit=300, distinct_texts=True, exclude_item_ids=[gone])])[
            0
        ].item_ids
        assert gone not in ids
        assert kept in ids


def test_requests_of_both_kinds_are_answered_together(stage: FirstStage):
    """A batch gives what each request gives alone."""
    requests = [
        Request(query=query, history_item_ids=["dairy-milk-red-0"], limit=50, distinct_texts=distinct)
        for query in ("milk", "soap")
        for distinct in (True, False)
    ]
    together = stage.retrieve(requests)
    for request, found in zip(requests, together, strict=True):
        assert found.item_ids == stage.retrieve([request])[0].item_ids


def test_scores_are_shared_within_a_request():
    """The best of a text's scores goes to all its rows of the same request; other columns stay."""
    scores = np.array([[0.5, 1.0], [NAN, NAN], [NAN, 2.0], [0.3, NAN], [NAN, 3.0]], np.float32)
    share_scores(scores, [0], np.array([7, 7, 8, 7, 7]), [3, 2])
    np.testing.assert_array_equal(
        scores, np.array([[0.5, 1.0], [0.5, NAN], [NAN, 2.0], [0.3, NAN], [0.3, 3.0]], np.float32)
    )
    empty = np.empty((0, 2), np.float32)
    share_scores(empty, [0], np.empty(0, np.int64), [0])


def test_the_first_row_of_each_text_is_kept_in_order():
    """Positions ascend."""
    assert first_of_each(np.array([4, 2, 4, 9, 2])).tolist() == [0, 1, 3]
