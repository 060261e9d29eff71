"""A sample of searches is also answered exactly."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.index.candidate_search import HybridIndexOptions
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.maintenance.recall_monitor import RecallMonitor, RecallSample, recall


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
    """An item as near as the last of the nearest counts as found, whichever it is."""
    sample = RecallSample(np.ones(2, np.float32), 3, None, searched)  # type: ignore[arg-type]
    assert recall(sample, exact) == share


def test_live_searches_are_sampled(artifacts: ReleaseArtifacts, feed: ChangeFeed):
    """Each search by HNSW is also answered exactly over release and delta, and its recall is reported."""
    reported, enough = [], threading.Event()

    def report(recall: float) -> None:
        reported.append(recall)
        enough.set()

    always_hnsw = HybridIndexOptions(exact_factor=0)  # otherwise the shop is too small for it
    index = HybridIndex.build(artifacts.vectors, IndexOptions(ef_search=10), always_hnsw)
    options = FirstStageOptions(depth=3, recall_share=1, on_recall=report)
    stage = FirstStage(dataclasses.replace(artifacts, index=index), options, feed)
    stage.writer.upsert([Item("oats", "rolled oats")])
    candidates = stage.retrieve([Request(query="oats", sources=["semantic"], limit=3)])[0]
    assert candidates.paths == {"semantic": "approximate"}
    assert enough.wait(10)
    assert reported == [1.0]
    stage.close()


def test_an_error_does_not_end_it():
    """A sample that can't be answered is logged, and the next one is reported."""
    reported, enough = [], threading.Event()
    turns = iter([RuntimeError("no luck"), found(0.5)])

    def exact(*_: object) -> ScoredItems:
        turn = next(turns)
        if isinstance(turn, Exception):
            raise turn
        return turn

    def report(recall: float) -> None:
        reported.append(recall)
        enough.set()

    monitor = RecallMonitor(1, exact, report)
    for _ in range(2):
        monitor.offer(RecallSample(np.ones(2, np.float32), 1, None, found(0.5)))  # type: ignore[arg-type]
    assert enough.wait(10)
    monitor.close()
    assert reported == [1.0]


def test_a_share_of_0_samples_nothing():
    """No search is offered to the exact search."""
    monitor = RecallMonitor(0, lambda *_: NOTHING, lambda _: pytest.fail("was sampled"))
    for _ in range(100):
        monitor.offer(RecallSample(np.ones(2, np.float32), 1, None, NOTHING))  # type: ignore[arg-type]
    monitor.close()
