"""The search worker searches a batch and serialises a response for each request."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from shortlist.retrieval.v1 import retrieval_pb2

from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.server.adaptive_ef_search import AdaptiveEfSearch
from services.retrieval.server.search_worker import Form, SearchRequest, SearchWorker


class Observer:
    """Records the candidates of each batch."""

    def __init__(self) -> None:
        self.batches: list[list[Candidates]] = []

    def __call__(self, results: Sequence[Candidates]) -> None:
        """Record a batch."""
        self.batches.append(list(results))


@pytest.fixture
def observer() -> Observer:
    """Return a recorder of batches."""
    return Observer()


@pytest.fixture
def worker(live_shop: FirstStage, observer: Observer) -> SearchWorker:
    """Return a worker over the shop."""
    return SearchWorker("r1", live_shop, AdaptiveEfSearch(100, 50, 1.0, lambda _: None), observer, 100)


def search_request(snapshot: Snapshot, request: Request, form: Form = "candidates") -> SearchRequest:
    """Return a request that arrived now."""
    return SearchRequest(request, snapshot, form, time.perf_counter(), 0.25)


def test_each_request_gets_its_own_response(live_shop: FirstStage, worker: SearchWorker, observer: Observer):
    """Responses come in the order of the batch, as candidates or columns, with release and timings."""
    snapshot = live_shop.snapshot
    batch = [
        search_request(snapshot, Request(history_item_ids=["bread"], limit=3)),
        search_request(snapshot, Request(limit=2, sources=["popular"]), "columns"),
        search_request(snapshot, Request(history_item_ids=["unheard of"], limit=1)),
    ]
    responses = [retrieval_pb2.RetrieveResponse.FromString(each) for each in worker.search_and_serialise(batch)]
    ids = [[candidate.item_id for candidate in response.candidates] for response in responses]
    expected = [candidates.item_ids for candidates in live_shop.retrieve([each.request for each in batch])]
    assert [ids[0], list(responses[1].columns.item_ids), ids[2]] == expected
    assert [response.ignored_history_items for response in responses] == [0, 0, 1]
    assert {response.release_id for response in responses} == {"r1"}
    assert {response.timings.encode_ms for response in responses} == {250}
    assert [len(batch) for batch in observer.batches] == [3]


def test_each_request_is_searched_in_its_snapshot(live_shop: FirstStage, worker: SearchWorker):
    """A request sees the catalogue of its snapshot, also after a change."""
    before = live_shop.snapshot
    live_shop.writer.upsert([Item("oats", "rolled oats")])
    request = Request(limit=100)
    responses = worker.search_and_serialise(
        [search_request(snapshot, request) for snapshot in (before, live_shop.snapshot)]
    )
    counts = [len(retrieval_pb2.RetrieveResponse.FromString(response).candidates) for response in responses]
    assert counts == [8, 9]


def test_the_latency_without_the_embedding_is_observed(live_shop: FirstStage):
    """`ef_search` adapts to the time that a response took, without the time of its embedding."""
    applied: list[int] = []
    controller = AdaptiveEfSearch(100, 50, 0.5, applied.append, clock=iter(range(1_000)).__next__)
    worker = SearchWorker("r1", live_shop, controller, lambda _: None, 100)
    now = time.perf_counter()
    for encode_s in (60.0, 0.0):
        for _ in range(20):
            worker.search_and_serialise(
                [SearchRequest(Request(limit=1), live_shop.snapshot, "candidates", now - 60, encode_s)]
            )
    assert applied == [80]
