"""Candidates over gRPC, from a small real release."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from shortlist.retrieval.v1 import retrieval_pb2

from common.release.layout import POPULARITY

TIMEOUT_S = 30.0
DIMENSION = 32
Filter = retrieval_pb2.Filter
Match = retrieval_pb2.Match
Range = retrieval_pb2.Range
List = retrieval_pb2.FilterList


async def test_candidates_for_a_history(service: Any, history: list[str]):
    """Candidates come by falling score, ties by id, with each source's score and the item's attributes."""
    response = await service.retrieve(history_item_ids=[*history, "unheard of", "unheard of"])
    assert len(set(service.ids(response))) == 100
    assert response.ignored_history_items == 2
    assert response.release_id == service.server._live.current_id
    order = [(-candidate.score, candidate.item_id) for candidate in response.candidates]
    assert order == sorted(order)
    best = response.candidates[0]
    assert best.sources
    assert [source.source for source in best.sources] == sorted(source.source for source in best.sources)
    assert all(math.isfinite(source.score) for candidate in response.candidates for source in candidate.sources)
    assert (best.category, best.text) == ("dairy", "")
    assert best.title
    assert response.timings.total_ms >= response.timings.search_ms > 0
    assert response.timings.encode_ms == 0 or response.timings.encode_ms < response.timings.total_ms


async def test_candidates_for_a_query(service: Any):
    """A query is embedded; its vector given in its place finds the same."""
    by_text = await service.retrieve(query="  large towel. household ", sources=["semantic"], limit=7)
    vector = service.stage().query_encoder.encode(["large towel. household"])[0]
    by_vector = await service.retrieve(query="apple", vector=(3 * vector).tolist(), sources=["semantic"], limit=7)
    assert service.ids(by_text) == service.ids(by_vector)
    assert len(by_text.candidates) == 7
    assert by_text.timings.encode_ms > 0


async def test_a_misspelled_query_finds_what_it_means(service: Any):
    """The answer tells the repaired query and has its candidates, in a batch too; `keep_query` refuses the repair."""
    right = await service.retrieve(query="large milk", limit=5)
    wrong = await service.retrieve(query="lagre mlik", limit=5)
    kept = await service.retrieve(query="lagre mlik", limit=5, keep_query=True)
    assert service.ids(wrong) == service.ids(right)
    assert (right.corrected_query, wrong.corrected_query, kept.corrected_query) == ("", "large milk", "")
    requests = [retrieval_pb2.RetrieveRequest(query=query, columns=True) for query in ("large milk", "lagre milk")]
    both = (await service.stub.BatchRetrieve(retrieval_pb2.BatchRetrieveRequest(requests=requests))).responses
    assert [each.corrected_query for each in both] == ["", "large milk"]
    assert list(both[0].columns.item_ids) == list(both[1].columns.item_ids)


async def test_candidates_for_an_unknown_user(service: Any):
    """Without query and history the popular items come first."""
    response = await service.retrieve(limit=1_000)
    stage = service.stage()
    popularity = np.load(service.server._live._current.engine.release.file(POPULARITY))
    rows = stage.snapshot.rows_of(service.ids(response))
    assert len(rows) == stage.snapshot.item_count
    assert popularity[rows[0]] == popularity.max()


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        (Filter(match=Match(attribute="category", values=["fruit"])), lambda item: item.category == "fruit"),
        (Filter(match=Match(attribute="available", values=["true"])), lambda _: True),
        (Filter(range=Range(attribute="price", min=6)), lambda item: item.HasField("price") and item.price >= 6),
        (Filter(range=Range(attribute="price", min=7, max=7)), lambda item: item.price == 7),
        (
            Filter(
                all_of=List(
                    filters=[
                        Filter(none_of=List(filters=[Filter(match=Match(attribute="department", values=["food"]))])),
                        Filter(any_of=List(filters=[Filter(match=Match(attribute="brand", values=["acme"]))])),
                    ]
                )
            ),
            lambda item: item.category == "household" and item.brand == "acme",
        ),
        (Filter(any_of=List()), lambda _: False),
    ],
)
async def test_filters_over_grpc(
    service: Any, history: list[str], condition: Filter, passes: Callable[[retrieval_pb2.Candidate], bool]
):
    """Exactly the items that pass the filter are returned."""
    everything = (await service.retrieve(limit=1_000)).candidates
    answer = await service.retrieve(history_item_ids=history, query="bread", filter=condition, limit=1_000)
    assert set(service.ids(answer)) == {candidate.item_id for candidate in everything if passes(candidate)}


async def test_excluded_items_and_chosen_sources(service: Any, history: list[str]):
    """Excluded items are not returned, and only the named sources are used."""
    before = await service.retrieve(history_item_ids=history, sources=["similar"], limit=20)
    excluded = service.ids(before)[:5]
    after = await service.retrieve(
        history_item_ids=history, sources=["similar"], limit=20, exclude_item_ids=[*excluded, "unheard of"]
    )
    assert not set(excluded) & set(service.ids(after))
    assert {source.source for candidate in after.candidates for source in candidate.sources} == {"similar"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"limit": 0}, "limit: 0 is not 1 to 1000; leave it unset for 100"),
        ({"limit": 1_001}, "limit: 1001 is not 1 to 1000"),
        ({"limit": 10_000_000}, "limit: 10000000 is not"),
        ({"query": "x" * 1_001}, "query: 1,001 characters; at most 1,000"),
        ({"vector": [1.0] * 3}, "vector: 3 numbers; the encoder's embeddings have 32"),
        ({"vector": [math.nan] * DIMENSION}, "vector: holds NaN or infinity"),
        ({"vector": [0.0] * DIMENSION}, "vector: is all zero"),
        ({"history_item_ids": ["x"] * 10_001}, "history_item_ids: 10,001 given; at most 10,000"),
        ({"history_item_ids": ["x" * 1_000_000]}, "history_item_ids[0]: longer than the 256 bytes"),
        ({"exclude_item_ids": ["x"] * 10_001}, "exclude_item_ids: 10,001 given; at most 10,000"),
        (
            {"sources": ["magic"]},
            "sources[0]: no source 'magic'; there are follow, lexical, popular, repeat, semantic, similar",
        ),
        ({"filter": Filter()}, "filter: has no kind; set one of match, range, all_of, any_of, none_of"),
        (
            {"filter": Filter(match=Match(attribute="colour", values=["red"]))},
            "filter.match.attribute: the catalogue has",
        ),
        ({"filter": Filter(match=Match(attribute="brand"))}, "filter.match.values: 0 values; give 1 to 1000"),
        ({"filter": Filter(range=Range(attribute="brand"))}, "filter.range.attribute: 'brand' is not numeric"),
        ({"filter": Filter(range=Range(attribute="price", min=2, max=1))}, "filter.range.min: 2.0 is above max 1.0"),
        ({"filter": Filter(all_of=List(filters=[Filter()]))}, "filter.all_of.filters[0]: has no kind"),
    ],
)
async def test_bad_requests(service: Any, request_: dict[str, Any], message: str):
    """A bad request is INVALID_ARGUMENT with the field's name, in a batch with its position."""
    await service.refuses(service.retrieve(**request_), grpc.StatusCode.INVALID_ARGUMENT, message)
    batch = [retrieval_pb2.RetrieveRequest(), retrieval_pb2.RetrieveRequest(**request_)]
    await service.refuses(
        service.stub.BatchRetrieve(retrieval_pb2.BatchRetrieveRequest(requests=batch), timeout=TIMEOUT_S),
        grpc.StatusCode.INVALID_ARGUMENT,
        f"requests[1].{message}",
    )


async def test_filters_that_are_too_deep(service: Any):
    """A filter of nine levels is refused; one of eight is not."""
    condition = Filter(range=Range(attribute="price"))
    for _ in range(8):
        condition = Filter(none_of=List(filters=[condition]))
    await service.refuses(service.retrieve(filter=condition), grpc.StatusCode.INVALID_ARGUMENT, "deeper than 8 levels")
    assert (await service.retrieve(filter=condition.none_of.filters[0])).candidates


async def test_a_batch_returns_what_single_calls_do(service: Any, history: list[str]):
    """A batch returns the candidates of its requests as single calls would, in its order."""
    requests = [
        retrieval_pb2.RetrieveRequest(query=query, history_item_ids=history[: number % 4], limit=5 + number)
        for number, query in enumerate(["", "milk", "fresh bread", "", "soap", "milk"] * 4)
    ]
    batch = await service.stub.BatchRetrieve(retrieval_pb2.BatchRetrieveRequest(requests=requests), timeout=TIMEOUT_S)
    singles = [await service.stub.Retrieve(request, timeout=TIMEOUT_S) for request in requests]
    assert [list(answer.candidates) for answer in batch.responses] == [list(answer.candidates) for answer in singles]


@pytest.mark.parametrize("count", [0, 257])
async def test_batches_of_a_wrong_size(service: Any, count: int):
    """A batch of no request, or of more than 256, is refused."""
    requests = [retrieval_pb2.RetrieveRequest()] * count
    await service.refuses(
        service.stub.BatchRetrieve(retrieval_pb2.BatchRetrieveRequest(requests=requests), timeout=TIMEOUT_S),
        grpc.StatusCode.INVALID_ARGUMENT,
        f"requests: {count} given; give 1 to 256",
    )


async def test_vectors_come_on_request(service: Any):
    """Vectors are there if they are asked for, in every form of answer, one for each candidate."""
    plain = await service.retrieve(query="towel", limit=5)
    assert not plain.columns.vectors_i8
    for form in ({}, {"columns": True}, {"source_columns": True}):
        answer = await service.retrieve(query="towel", limit=5, vectors=True, **form)
        assert len(answer.columns.vectors_i8) == 5 * DIMENSION
        assert bool(answer.candidates) != ("columns" in form)


async def test_conditions_are_evaluated_for_each_candidate(service: Any):
    """One byte for each candidate; an attribute that the catalogue does not have is a fault and fails no call."""
    dairy, unknown = (
        Filter(match=Match(attribute="category", values=["dairy"])),
        Filter(range=Range(attribute="margin", min=0.1)),
    )
    answer = await service.retrieve(query="milk", limit=20, conditions=[dairy, unknown])
    assert list(answer.conditions[0].holds) == [candidate.category == "dairy" for candidate in answer.candidates]
    assert not answer.conditions[1].holds
    assert "margin" in answer.conditions[1].fault
    plain = await service.retrieve(query="milk", limit=20)
    assert service.ids(plain) == service.ids(answer)
    others = service.ids(await service.retrieve(query="towel", limit=200))
    wanted = next(item_id for item_id in reversed(others) if item_id not in service.ids(plain))
    included = await service.retrieve(query="milk", limit=20, include_item_ids=[wanted])
    assert service.ids(included) == [*service.ids(plain)[:19], wanted]
