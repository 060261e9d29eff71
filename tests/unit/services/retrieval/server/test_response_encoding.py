"""Answers written as bytes are the messages that they stand for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from shortlist.retrieval.v1 import retrieval_pb2

from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.server.response_encoding import (
    candidate_fragments,
    id_fragments,
    write_batch,
    write_candidates,
    write_columns,
)

OpenShop = Callable[..., FirstStage]


def message(candidates: Candidates) -> retrieval_pb2.RetrieveResponse:
    """Make the message of an answer field by field."""
    items = candidates.snapshot.items_at(candidates.rows)
    new = candidates.snapshot.origin_of(candidates.rows) < 0
    made = retrieval_pb2.RetrieveResponse()
    for place, item in enumerate(items):
        scores = zip(candidates.sources, candidates.source_scores[place].tolist(), strict=True)
        made.candidates.add(
            item_id=item.item_id,
            score=candidates.scores[place],
            sources=[retrieval_pb2.SourceScore(source=name, score=score) for name, score in scores if score == score],  # noqa: PLR0124 - NaN: not found
            title=item.title,
            brand=item.brand,
            category=item.category,
            price=item.price,
            available=item.available,
            text=item.text if new[place] else "",
            long_tail=item.item_id in {"milk-2", "roll", "soap", "sponge", "oats"},
        )
    return made


@pytest.mark.parametrize("kept", [0, 3, 100])
def test_bytes_are_the_message(live_shop: FirstStage, kept: int):
    """Whatever is remembered, the bytes parse to the message: missing sources, unset prices, added and filled items."""
    fragments = candidate_fragments(kept, live_shop.long_tail)
    live_shop.writer.upsert(
        [Item("oats", "rolled oats \u00fc" * 40, price=2.5), Item("cheese", "soft cheese", available=False)]
    )
    for request in (
        Request(query="fresh milk", history_item_ids=["bread", "oats"]),
        Request(sources=["popular"]),
        Request(query="oats", sources=["semantic"], limit=2),
    ):
        candidates = live_shop.retrieve([request])[0]
        for _ in range(2):
            written = write_candidates(candidates, fragments)
            assert retrieval_pb2.RetrieveResponse.FromString(written) == message(candidates)


def test_a_replaced_item_is_written_anew(live_shop: FirstStage):
    """What is remembered of an item ends with it."""
    fragments = candidate_fragments(100, live_shop.long_tail)
    request = Request(query="rye roll", sources=["semantic"], limit=1)
    for title in ("rye roll", "rye roll large", "rye roll small"):
        live_shop.writer.upsert([Item("roll", title, category="bakery")])
        written = write_candidates(live_shop.retrieve([request])[0], fragments)
        assert retrieval_pb2.RetrieveResponse.FromString(written).candidates[0].title == title


@pytest.mark.parametrize("limit", [1, 8, 100])
def test_columns_are_the_candidates(live_shop: FirstStage, limit: int):
    """Columns hold the ids and scores of the candidates, NaN where a source is silent, added items too."""
    live_shop.writer.upsert([Item("oats", "rolled oats")])
    candidates = live_shop.retrieve([Request(query="oats", history_item_ids=["bread"], limit=limit)])[0]
    ids = id_fragments(100)
    for _ in range(2):
        columns = retrieval_pb2.RetrieveResponse.FromString(write_columns(candidates, ids)).columns
        assert list(columns.item_ids) == candidates.item_ids
        assert list(columns.scores) == candidates.scores.tolist()
        assert tuple(column.source for column in columns.sources) == candidates.sources
        said = np.array([column.scores for column in columns.sources], np.float32).T
        np.testing.assert_array_equal(said, candidates.source_scores)


def test_no_candidates_are_no_bytes(shop: FirstStage):
    """An empty answer is empty."""
    empty = shop.retrieve([Request(exclude_item_ids=shop.snapshot.base.item_ids)])[0]
    assert len(empty) == 0
    assert write_candidates(empty, candidate_fragments(10, shop.long_tail)) == b""


def test_a_batch_of_answers():
    """A batch holds its answers in order, long and short."""
    responses = [retrieval_pb2.RetrieveResponse(release_id="x" * size) for size in (0, 1, 200, 20_000)]
    written = write_batch([response.SerializeToString() for response in responses])
    assert list(retrieval_pb2.BatchRetrieveResponse.FromString(written).responses) == responses
    assert np.frombuffer(written, np.uint8).size > 20_201
