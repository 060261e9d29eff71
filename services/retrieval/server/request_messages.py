"""Reads protobuf requests.

Rule of checks: reading checks the form of a message, which is what the contract allows to be given in two ways or not
at all (a vector as numbers or as bytes, the kind of a filter). `check_request`, `check_batch` and `check_items` check
limits, on the values read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import numpy as np
from shortlist.retrieval.v1 import retrieval_pb2

from common.arrays import Float32Array
from common.errors import InvalidRequest
from common.markup import plain_text
from common.server.filter_messages import read_filter
from common.text import MAX_QUERY_CHARACTERS, MAX_TEXT_CHARACTERS
from services.retrieval.candidates.request import DEFAULT_LIMIT, Request
from services.retrieval.catalogue.item import Item

MAX_WAIT_S: Final = 10.0
_FLOAT32_BYTES: Final = 4
_EVIDENCE: Final[dict[int, str]] = {
    number: name.removeprefix("EVIDENCE_").lower() for name, number in retrieval_pb2.Evidence.items() if number
}
M = TypeVar("M")
T = TypeVar("T")


def read_request(message: retrieval_pb2.RetrieveRequest) -> Request:
    """Read a request; raises InvalidRequest, naming the field, if the form of its vector or filter is wrong."""
    return Request(
        query=plain(message.query, MAX_QUERY_CHARACTERS),
        vector=_read_vector(message),
        history_item_ids=list(message.history_item_ids),  # protobuf makes new strings on every iteration
        filter=read_filter(message.filter) if message.HasField("filter") else None,
        exclude_item_ids=list(message.exclude_item_ids),
        limit=message.limit if message.HasField("limit") else DEFAULT_LIMIT,
        sources=message.sources,
        seed=message.seed,
        distinct_texts=message.distinct_texts,
        exclude_history=message.exclude_history,
        history_kinds=message.history_kinds,
        keep_query=message.keep_query,
        with_vectors=message.vectors,
        include_item_ids=list(message.include_item_ids),
        conditions=[read_filter(each, f"conditions[{number}]") for number, each in enumerate(message.conditions)],
        evidence=_read_evidence(message.evidence),
        is_batch=_read_priority(message),
    )


def read_requests(messages: Sequence[retrieval_pb2.RetrieveRequest]) -> list[Request]:
    """Read the requests of a batch as `read_request` does; errors name the position too."""
    return _read_each("requests", messages, read_request)


def read_wait_s(message: retrieval_pb2.ReadItemTextsRequest) -> float:
    """Return how long to wait for a change, in seconds; raises InvalidRequest."""
    if not 0 <= message.wait_s <= MAX_WAIT_S:  # also refuses NaN
        raise InvalidRequest(f"wait_s: must be 0 to {MAX_WAIT_S:g}, is {message.wait_s:g}")
    return message.wait_s


def read_items(messages: Sequence[retrieval_pb2.Item]) -> list[Item]:
    """Read items to upsert; raises InvalidRequest, naming position and field, if the form of a vector is wrong."""
    return _read_each("items", messages, _read_item)


def _read_each(field: str, messages: Sequence[M], read: Callable[[M], T]) -> list[T]:
    values = []
    for number, message in enumerate(messages):
        try:
            values.append(read(message))
        except InvalidRequest as error:
            raise InvalidRequest(f"{field}[{number}].{error}") from error
    return values


def _read_item(message: retrieval_pb2.Item) -> Item:
    return Item(
        item_id=message.item_id,
        title=plain(message.title),
        brand=plain(message.brand),
        category=plain(message.category),
        description=plain(message.description),
        price=message.price if message.HasField("price") else None,
        available=message.available if message.HasField("available") else True,
        vector=_read_vector(message),
    )


def _read_priority(message: retrieval_pb2.RetrieveRequest) -> bool:
    """Return whether nobody waits for the answer; raises InvalidRequest for an unknown priority."""
    if message.priority not in retrieval_pb2.Priority.values():
        raise InvalidRequest(f"priority: {message.priority} is not a value of Priority; use PRIORITY_INTERACTIVE, say")
    return message.priority == retrieval_pb2.PRIORITY_BATCH


def _read_evidence(numbers: Sequence[int]) -> frozenset[str]:
    """Return the names of the evidence that sources must go by; raises InvalidRequest for unknown numbers."""
    for position, number in enumerate(numbers):
        if number not in _EVIDENCE:
            raise InvalidRequest(
                f"evidence[{position}]: {number} is not a value of Evidence; use EVIDENCE_SIMILAR, say"
            )
    return frozenset(_EVIDENCE[number] for number in numbers)


def plain(text: str, max_characters: int = MAX_TEXT_CHARACTERS) -> str:
    """Return plain text; a longer text, which the check of limits refuses, costs no work."""
    return plain_text(text) if len(text) <= max_characters else text


def _read_vector(message: retrieval_pb2.RetrieveRequest | retrieval_pb2.Item) -> Float32Array | None:
    """Read a vector given as numbers or as bytes; raises InvalidRequest if it is given as both, or as part of one."""
    if not message.vector_f32:
        return np.array(message.vector, dtype=np.float32) if message.vector else None
    if message.vector:
        raise InvalidRequest("vector_f32: given together with vector; give one of them")
    if len(message.vector_f32) % _FLOAT32_BYTES:
        raise InvalidRequest(f"vector_f32: {len(message.vector_f32)} bytes; give a multiple of {_FLOAT32_BYTES}")
    return np.frombuffer(message.vector_f32, dtype="<f4").astype(np.float32, copy=False)
