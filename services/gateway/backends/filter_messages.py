"""Filters between the wire and the gateway's own values; read strictly, so that retrieval gets valid ones only."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest
from common.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, AllOf, AnyOf, Filter, Match, NoneOf, Range


def read(message: retrieval_pb2.Filter, field: str = "filter") -> Filter:
    """Return a filter as a value; raises InvalidRequest, naming the field, where the contract forbids it."""
    conditions = _count(message)
    if conditions > MAX_CONDITIONS:
        raise InvalidRequest(f"{field}: at most {MAX_CONDITIONS} conditions, has {conditions}")
    return _read(message, field, MAX_DEPTH)


def write(condition: Filter) -> retrieval_pb2.Filter:
    """Return a filter as a message."""
    match condition:
        case Match(attribute, values):
            return retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute=attribute, values=values))
        case Range(attribute, minimum, maximum):
            return retrieval_pb2.Filter(range=retrieval_pb2.Range(attribute=attribute, min=minimum, max=maximum))
        case AllOf(filters):
            return retrieval_pb2.Filter(all_of=_list(filters))
        case AnyOf(filters):
            return retrieval_pb2.Filter(any_of=_list(filters))
        case NoneOf(filters):
            return retrieval_pb2.Filter(none_of=_list(filters))


def _list(filters: Sequence[Filter]) -> retrieval_pb2.FilterList:
    return retrieval_pb2.FilterList(filters=[write(part) for part in filters])


def _count(message: retrieval_pb2.Filter) -> int:
    parts = (*message.all_of.filters, *message.any_of.filters, *message.none_of.filters)
    return 1 + sum(_count(part) for part in parts)


def _read(message: retrieval_pb2.Filter, field: str, levels: int) -> Filter:
    if levels == 0:
        raise InvalidRequest(f"{field}: at most {MAX_DEPTH} levels deep")
    match message.WhichOneof("kind"):
        case "match":
            return _match(message.match, f"{field}.match")
        case "range":
            return _range(message.range, f"{field}.range")
        case "all_of":
            return AllOf(_read_list(message.all_of, f"{field}.all_of", levels))
        case "any_of":
            return AnyOf(_read_list(message.any_of, f"{field}.any_of", levels))
        case "none_of":
            return NoneOf(_read_list(message.none_of, f"{field}.none_of", levels))
        case _:
            raise InvalidRequest(f"{field}: set one of match, range, all_of, any_of, none_of")


def _read_list(message: retrieval_pb2.FilterList, field: str, levels: int) -> tuple[Filter, ...]:
    return tuple(_read(part, f"{field}[{at}]", levels - 1) for at, part in enumerate(message.filters))


def _match(message: retrieval_pb2.Match, field: str) -> Match:
    _require_attribute(message.attribute, field)
    if not 1 <= len(message.values) <= MAX_VALUES:
        raise InvalidRequest(f"{field}.values: 1 to {MAX_VALUES:,} values, has {len(message.values):,}")
    return Match(message.attribute, tuple(dict.fromkeys(message.values)))


def _range(message: retrieval_pb2.Range, field: str) -> Range:
    _require_attribute(message.attribute, field)
    minimum = message.min if message.HasField("min") else None
    maximum = message.max if message.HasField("max") else None
    for name, bound in (("min", minimum), ("max", maximum)):
        if bound is not None and math.isnan(bound):
            raise InvalidRequest(f"{field}.{name}: must be a number, is NaN")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise InvalidRequest(f"{field}.min: must not be above max, is {minimum} above {maximum}")
    return Range(message.attribute, minimum, maximum)


def _require_attribute(attribute: str, field: str) -> None:
    if not attribute:
        raise InvalidRequest(f"{field}.attribute: must name an attribute, such as brand")
