"""A sample of searches is answered exactly as well."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from services.retrieval.ann.hnswlib_hnsw import HnswlibHnsw
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems
from services.retrieval.maintenance.recall_monitor import RecallMonitor, RecallSample, recall

OpenShop = Callable[..., FirstStage]


def found(*scores: float) -> ScoredItems:
    """Return what was found, by its scores."""
    return ScoredItems(np.arange(len(scores)), np.array(scores, dtype=np.float32))


@pytest.mark.parametrize(
    ("searched", "exact", "share"),
    [
        (found(0.9, 0.8, 0.7), found(0.9, 0.8, 0.7), 1),
        (found(0.9, 0.7, 0.6), found(0.9, 0.8, 0.7, 0.7), 0.5),
        (found(0.9, 0.7000001, 0.6999999), found(0.9, 0.7, 0.7), 1),
        (NOTHING, found(0.9), 0),
        (NOTHING, NOTHING, 1),
    ],
)
def test_recall_counts_ties(searched: ScoredItems, exact: ScoredItems, share: float):
    """What is as near as the last of the nearest was found too, whichever item it is."""
    sample = RecallSample(np.ones(2, np.float32), 3, None, searched)  # type: ignore[arg-type]
    assert recall(sample, exact) == share


def test_live_searches_are_sampled(open_shop: OpenShop, feed: object, monkeypatch: pytest.MonkeyPatch):
    """Each search through the graph is answered exactly over released and added items, and its recall told."""
    monkeypatch.setattr(HnswlibHnsw, "rows_per_candidate", 0.0)  # or the shop is too small for its graph
    told, enough = [], threading.Event()

    def tell(recall: float) -> None:
        told.append(recall)
        enough.set()

    shop = open_shop(feed, options=FirstStageOptions(ef_search=10, depth=3, recall_share=1, on_recall=tell))
    shop.upsert([Item("oats", "rolled oats")])
    answer = shop.retrieve([Request(query="oats", sources=["semantic"], limit=3)])[0]
    assert answer.paths == {"semantic": "approximate"}
    assert enough.wait(10)
    assert told == [1.0]


def test_an_error_does_not_end_it():
    """A sample that can't be answered is logged, and the next one is told of."""
    told, enough = [], threading.Event()
    turns = iter([RuntimeError("no luck"), found(0.5)])

    def exact(*_: object) -> ScoredItems:
        turn = next(turns)
        if isinstance(turn, Exception):
            raise turn
        return turn

    def tell(recall: float) -> None:
        told.append(recall)
        enough.set()

    watching = RecallMonitor(1, exact, tell)
    for _ in range(2):
        watching.offer(RecallSample(np.ones(2, np.float32), 1, None, found(0.5)))  # type: ignore[arg-type]
    assert enough.wait(10)
    watching.close()
    assert told == [1.0]


def test_nothing_is_drawn_from_a_share_of_zero():
    """Without a share nothing is sampled."""
    watching = RecallMonitor(0, lambda *_: NOTHING, lambda _: pytest.fail("was sampled"))
    for _ in range(100):
        watching.offer(RecallSample(np.ones(2, np.float32), 1, None, NOTHING))  # type: ignore[arg-type]
    watching.close()
