"""The contract's messages to the engine's values and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from shortlist.retrieval.v1 import retrieval_pb2

from common.arrays import Float32Array
from common.errors import InvalidRequest
from common.server.filter_messages import read_filter
from services.retrieval.candidates.request import DEFAULT_LIMIT, MAX_BATCH_CANDIDATES, MAX_REQUESTS, Request
from services.retrieval.catalogue.item import Item

_FLOAT_BYTES: Final = 4


def read_request(message: retrieval_pb2.RetrieveRequest) -> Request:
    """Read a request; raises InvalidRequest if its filter violates the contract."""
    return Request(
        query=message.query,
        vector=_read_vector(message),
        history_item_ids=message.history_item_ids,
        filter=read_filter(message.filter) if message.HasField("filter") else None,
        exclude_item_ids=message.exclude_item_ids,
        limit=message.limit if message.HasField("limit") else DEFAULT_LIMIT,
        sources=message.sources,
        seed=message.seed,
    )


def read_batch(messages: Sequence[retrieval_pb2.RetrieveRequest], check: Callable[[Request], None]) -> list[Request]:
    """Read the requests of a batch; raises InvalidRequest naming the request by its position, or their number.

    Args:
        messages: The requests.
        check: Raises InvalidRequest where a release can't answer a request.
    """
    if not 1 <= len(messages) <= MAX_REQUESTS:
        raise InvalidRequest(f"requests: {len(messages)} given; give 1 to {MAX_REQUESTS}")
    asked = [_read_one(message, number, check) for number, message in enumerate(messages)]
    together = sum(each.limit for each in asked)
    if together > MAX_BATCH_CANDIDATES:
        raise InvalidRequest(f"requests: ask for {together:,} candidates; at most {MAX_BATCH_CANDIDATES:,} in one call")
    return asked


def _read_one(message: retrieval_pb2.RetrieveRequest, number: int, check: Callable[[Request], None]) -> Request:
    try:
        asked = read_request(message)
        check(asked)
    except InvalidRequest as error:
        raise InvalidRequest(f"requests[{number}].{error}") from error
    return asked


def read_items(messages: Sequence[retrieval_pb2.Item]) -> list[Item]:
    """Read items to upsert; raises InvalidRequest where a vector is given twice or in part."""
    items = []
    for number, message in enumerate(messages):
        try:
            items.append(_read_item(message))
        except InvalidRequest as error:
            raise InvalidRequest(f"items[{number}].{error}") from error
    return items


def _read_item(message: retrieval_pb2.Item) -> Item:
    return Item(
        item_id=message.item_id,
        title=message.title,
        brand=message.brand,
        category=message.category,
        description=message.description,
        price=message.price if message.HasField("price") else None,
        available=message.available if message.HasField("available") else True,
        vector=_read_vector(message),
    )


def _read_vector(message: retrieval_pb2.RetrieveRequest | retrieval_pb2.Item) -> Float32Array | None:
    """Read a vector given as numbers or as bytes; raises InvalidRequest where it is given as both or in part."""
    if not message.vector_f32:
        return np.array(message.vector, dtype=np.float32) if message.vector else None
    if message.vector:
        raise InvalidRequest("vector_f32: is given together with vector; give one of them")
    if len(message.vector_f32) % _FLOAT_BYTES:
        raise InvalidRequest(
            f"vector_f32: {len(message.vector_f32)} bytes are no whole numbers of {_FLOAT_BYTES} bytes"
        )
    return np.frombuffer(message.vector_f32, dtype="<f4").astype(np.float32, copy=False)
