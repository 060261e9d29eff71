"""Writes protobuf answers."""

from __future__ import annotations

from shortlist.retrieval.v1 import retrieval_pb2

from services.retrieval.candidates.candidates import Candidates
from services.retrieval.catalogue.item import Item


def write_item(item: Item) -> retrieval_pb2.Item:
    """Write an item of the catalogue."""
    return retrieval_pb2.Item(
        item_id=item.item_id,
        title=item.title,
        brand=item.brand,
        category=item.category,
        description=item.description,
        price=item.price,
        available=item.available,
    )


def write_response(candidates: Candidates, written: bytes, release_id: str, encode_s: float, total_s: float) -> bytes:
    """Write an answer, serialised.

    Args:
        candidates: What was found.
        written: The same, written as candidates or columns.
        release_id: The release that answered.
        encode_s: How long the query's embedding took, in seconds.
        total_s: How long the answer took, in seconds.
    """
    rest = retrieval_pb2.RetrieveResponse(
        release_id=release_id,
        timings=retrieval_pb2.RetrieveTimings(
            encode_ms=encode_s * 1e3,
            search_ms=candidates.search_s * 1e3,
            fuse_ms=candidates.fuse_s * 1e3,
            total_ms=total_s * 1e3,
        ),
        ignored_history_items=candidates.ignored_history,
    )
    return written + rest.SerializeToString()
