"""Encoded responses are the bytes of the messages that they replace."""

from __future__ import annotations

import numpy as np
import pytest
from shortlist.retrieval.v1 import retrieval_pb2

from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.server.response_encoding import (
    candidate_fragments,
    encode_batch,
    encode_candidates,
    encode_columns,
    encode_evidence,
    encode_response,
    encode_vectors,
    encode_with_source_columns,
    id_fragments,
)


def as_message(candidates: Candidates) -> retrieval_pb2.RetrieveResponse:
    """Make the message of candidates field by field."""
    items = candidates.snapshot.items_at(candidates.rows)
    added = candidates.snapshot.origin_of(candidates.rows) < 0
    message = retrieval_pb2.RetrieveResponse()
    for place, item in enumerate(items):
        scores = zip(candidates.sources, candidates.source_scores[place].tolist(), strict=True)
        message.candidates.add(
            item_id=item.item_id,
            score=candidates.scores[place],
            sources=[retrieval_pb2.SourceScore(source=name, score=score) for name, score in scores if score == score],  # noqa: PLR0124 - NaN: not found
            title=item.title,
            brand=item.brand,
            category=item.category,
            price=item.price,
            available=item.available,
            text=item.text if added[place] else "",
            long_tail=item.item_id in {"milk-2", "cheese", "roll", "soap", "sponge", "oats"},
            new_item=bool(added[place]),
        )
    return message


def without_hashes(encoded: bytes) -> retrieval_pb2.RetrieveResponse:
    """Parse candidates, and clear the hashes of their texts."""
    response = retrieval_pb2.RetrieveResponse.FromString(encoded)
    for candidate in response.candidates:
        candidate.ClearField("text_hash")
    return response


def test_the_hash_of_a_text_is_that_of_its_copies(live_shop: FirstStage):
    """Items with the same text have the same hash, whatever their price; any other text has another."""
    live_shop.writer.upsert(
        [Item("a", "rye roll", price=1.0), Item("b", "rye roll", price=2.0), Item("c", "rye rolls")]
    )
    candidates = live_shop.retrieve([Request(query="rye roll", limit=50)])[0]
    encoded = encode_candidates(candidates, candidate_fragments(100, live_shop.long_tail))
    found = retrieval_pb2.RetrieveResponse.FromString(encoded).candidates
    hashes = {candidate.item_id: candidate.text_hash for candidate in found}
    texts = dict(
        zip(candidates.item_ids, (item.text for item in candidates.snapshot.items_at(candidates.rows)), strict=True)
    )
    assert hashes["a"] == hashes["b"] != hashes["c"]
    assert len(set(hashes.values())) == len(set(texts.values()))
    assert all(hashes.values())


@pytest.mark.parametrize("cache_size", [0, 3, 100])
def test_candidates_are_encoded_as_their_message(live_shop: FirstStage, cache_size: int):
    """The bytes parse to the message whatever is cached: missing sources, unset prices, added and padded items."""
    fragments = candidate_fragments(cache_size, live_shop.long_tail)
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
            encoded = encode_candidates(candidates, fragments)
            assert without_hashes(encoded) == as_message(candidates)


def test_a_replaced_item_is_encoded_with_its_new_fields(live_shop: FirstStage):
    """The cached fragment of an item is not used once the item was replaced."""
    fragments = candidate_fragments(100, live_shop.long_tail)
    request = Request(query="rye roll", sources=["semantic"], limit=1)
    for title in ("rye roll", "rye roll large", "rye roll small"):
        live_shop.writer.upsert([Item("roll", title, category="bakery")])
        encoded = encode_candidates(live_shop.retrieve([request])[0], fragments)
        assert retrieval_pb2.RetrieveResponse.FromString(encoded).candidates[0].title == title


@pytest.mark.parametrize("limit", [1, 8, 100])
def test_columns_hold_ids_and_scores(live_shop: FirstStage, limit: int):
    """Columns hold the ids and scores of the candidates, added items too; NaN if a source did not find one."""
    live_shop.writer.upsert([Item("oats", "rolled oats")])
    candidates = live_shop.retrieve([Request(query="oats", history_item_ids=["bread"], limit=limit)])[0]
    fragments = id_fragments(100)
    for _ in range(2):
        columns = retrieval_pb2.RetrieveResponse.FromString(encode_columns(candidates, fragments)).columns
        assert list(columns.item_ids) == candidates.item_ids
        assert list(columns.scores) == candidates.scores.tolist()
        assert tuple(column.source for column in columns.sources) == candidates.sources
        source_scores = np.array([column.scores for column in columns.sources], np.float32).T
        np.testing.assert_array_equal(source_scores, candidates.source_scores)


@pytest.mark.parametrize("limit", [3, 50])
def test_the_scores_of_sources_may_be_columns_beside_the_candidates(live_shop: FirstStage, limit: int):
    """The candidates are the same but for their sources, whose columns are those of the other form."""
    candidates = live_shop.retrieve([Request(query="milk", history_item_ids=["bread"], limit=limit)])[0]
    fragments = candidate_fragments(100, live_shop.long_tail)
    found = retrieval_pb2.RetrieveResponse.FromString(encode_with_source_columns(candidates, fragments))
    plain = retrieval_pb2.RetrieveResponse.FromString(encode_candidates(candidates, fragments))
    columns = retrieval_pb2.RetrieveResponse.FromString(encode_columns(candidates, id_fragments(100))).columns
    for candidate in plain.candidates:
        candidate.ClearField("sources")
    assert found.candidates == plain.candidates
    assert list(map(str, found.columns.sources)) == list(map(str, columns.sources))  # NaN differs from itself
    assert not found.columns.item_ids
    assert not found.columns.scores


def test_no_candidates_are_no_bytes(shop: FirstStage):
    """The field of no candidates is empty."""
    empty = shop.retrieve([Request(exclude_item_ids=shop.snapshot.base.item_ids)])[0]
    assert len(empty) == 0
    assert encode_candidates(empty, candidate_fragments(10, shop.long_tail)) == b""


def test_a_response_holds_candidates_and_the_rest(shop: FirstStage):
    """A response is the candidates, the release, the timings in milliseconds and the ignored history."""
    candidates = shop.retrieve([Request(history_item_ids=["bread", "unheard of"], limit=3)])[0]
    encoded = encode_candidates(candidates, candidate_fragments(10, shop.long_tail))
    evidence = encode_evidence({"words": "lexical", "graph": "repeat"})
    response = retrieval_pb2.RetrieveResponse.FromString(
        encode_response(candidates, encoded, evidence, "r1", 0.25, 1.5)
    )
    assert list(without_hashes(encoded).candidates) == list(as_message(candidates).candidates)
    assert [each.text_hash for each in response.candidates if not each.text_hash] == []
    assert (response.release_id, response.ignored_history_items) == ("r1", 1)
    assert (response.timings.encode_ms, response.timings.total_ms) == (250, 1500)
    assert [(each.source, each.evidence) for each in response.evidence] == [
        ("graph", retrieval_pb2.EVIDENCE_REPEAT),
        ("words", retrieval_pb2.EVIDENCE_LEXICAL),
    ]
    assert response.timings.search_ms == pytest.approx(candidates.search_s * 1e3)


def test_a_batch_holds_its_responses_in_order():
    """Responses of every length of header are read back in order."""
    responses = [retrieval_pb2.RetrieveResponse(release_id="x" * size) for size in (0, 1, 200, 20_000)]
    encoded = encode_batch([response.SerializeToString() for response in responses])
    assert list(retrieval_pb2.BatchRetrieveResponse.FromString(encoded).responses) == responses


def test_vectors_are_added_to_the_columns_that_a_response_has(live_shop: FirstStage):
    """A parser finds each candidate's direction in bytes, added items too, next to the scores of the sources."""
    live_shop.writer.upsert([Item("oats", "rolled oats"), Item("cheese", "cheese", price=9.0)])
    candidates = live_shop.retrieve([Request(query="oats", history_item_ids=["bread"], limit=50)])[0]
    vectors = live_shop.vectors_of(candidates)
    encoded = encode_with_source_columns(candidates, candidate_fragments(100, live_shop.long_tail))
    columns = retrieval_pb2.RetrieveResponse.FromString(encoded + encode_vectors(vectors)).columns
    assert tuple(column.source for column in columns.sources) == candidates.sources
    found = np.frombuffer(columns.vectors_i8, np.int8).reshape(vectors.shape).astype(np.float64)
    assert (np.abs(found).max(axis=1) == 127).all()
    cosines = (found * vectors).sum(axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > 0.999


def test_a_vector_of_zeros_stays_one():
    """A direction that is not known has no number, and is no error."""
    columns = retrieval_pb2.RetrieveResponse.FromString(encode_vectors(np.zeros((2, 3), np.float32))).columns
    assert columns.vectors_i8 == bytes(6)
