"""Random messages of the contract's types."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from shortlist.gateway.v1 import gateway_pb2
from shortlist.ranking.v1 import ranking_pb2
from shortlist.release.v1 import release_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from testing.fuzzing.messages import MessageGenerator

_REQUESTS = [
    method.input_type
    for file in (gateway_pb2, ranking_pb2, release_pb2, retrieval_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def _set_fields(message: Message) -> Iterator[str]:
    """Return the names of all fields that are set, in messages inside too."""
    for field, value in message.ListFields():
        yield field.full_name
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for inner in value if field.is_repeated else [value]:
                yield from _set_fields(inner)


def _fields(kind: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    for field in kind.fields:
        yield field.full_name
        if field.message_type is not None and field.message_type.full_name not in seen:
            yield from _fields(field.message_type, seen | {field.message_type.full_name})


@pytest.mark.parametrize("kind", _REQUESTS, ids=lambda kind: kind.name)
def test_every_field_is_set_by_some_message(kind: Descriptor):
    """Each field of each request, and of what it contains, occurs in a few hundred messages."""
    found: set[str] = set()
    for seed in range(400):
        found |= set(_set_fields(MessageGenerator(random.Random(seed), ["tea"]).message(kind)))
    assert found == set(_fields(kind))


def test_the_same_seed_gives_the_same_bytes():
    """An input is reproduced by its seed."""
    kind = retrieval_pb2.RetrieveRequest.DESCRIPTOR
    first, second = (MessageGenerator(random.Random("seed"), ["tea"]).wire_bytes(kind) for _ in range(2))
    assert first == second


def test_some_bytes_are_no_message():
    """Damaged messages are among the inputs, and whole ones are most of them."""
    kind = retrieval_pb2.UpsertItemsRequest.DESCRIPTOR
    damaged = 0
    for seed in range(300):
        try:
            retrieval_pb2.UpsertItemsRequest.FromString(MessageGenerator(random.Random(seed), ["tea"]).wire_bytes(kind))
        except DecodeError:
            damaged += 1
    assert 0 < damaged < 60
