"""Filters between the contract's messages and values, checked against every limit that needs no catalogue."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest
from common.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, AllOf, AnyOf, Filter, Match, NoneOf, Range, walk

_LISTS: Final[dict[str, Callable[[tuple[Filter, ...]], Filter]]] = {"all_of": AllOf, "any_of": AnyOf, "none_of": NoneOf}


def read_filter(message: retrieval_pb2.Filter, field: str = "filter") -> Filter:
    """Return a filter as a value; raises InvalidRequest, naming the field, if the contract forbids it."""
    condition = _read(message, field, 1)
    if sum(1 for _ in walk(condition, field)) > MAX_CONDITIONS:
        raise InvalidRequest(f"{field}: more than {MAX_CONDITIONS} conditions; join values into one `match`")
    return condition


def write_filter(condition: Filter) -> retrieval_pb2.Filter:
    """Return a filter as a message."""
    match condition:
        case Match(attribute, values):
            return retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute=attribute, values=values))
        case Range(attribute, minimum, maximum):
            return retrieval_pb2.Filter(range=retrieval_pb2.Range(attribute=attribute, min=minimum, max=maximum))
        case AllOf(filters):
            return retrieval_pb2.Filter(all_of=_write_list(filters))
        case AnyOf(filters):
            return retrieval_pb2.Filter(any_of=_write_list(filters))
        case NoneOf(filters):
            return retrieval_pb2.Filter(none_of=_write_list(filters))


def _write_list(filters: Sequence[Filter]) -> retrieval_pb2.FilterList:
    return retrieval_pb2.FilterList(filters=[write_filter(part) for part in filters])


def _read(message: retrieval_pb2.Filter, field: str, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"{field}: deeper than {MAX_DEPTH} levels; flatten the filter")
    match message.WhichOneof("kind"):
        case "match":
            return _read_match(message.match, f"{field}.match")
        case "range":
            return _read_range(message.range, f"{field}.range")
        case "all_of" | "any_of" | "none_of" as kind:
            parts = enumerate(getattr(message, kind).filters)
            return _LISTS[kind](tuple(_read(part, f"{field}.{kind}.filters[{i}]", depth + 1) for i, part in parts))
        case _:
            raise InvalidRequest(f"{field}: has no kind; set one of match, range, all_of, any_of, none_of")


def _read_match(message: retrieval_pb2.Match, field: str) -> Match:
    _require_attribute(message.attribute, field)
    if not 1 <= len(message.values) <= MAX_VALUES:
        raise InvalidRequest(f"{field}.values: {len(message.values)} values; give 1 to {MAX_VALUES}")
    return Match(message.attribute, tuple(dict.fromkeys(message.values)))


def _read_range(message: retrieval_pb2.Range, field: str) -> Range:
    _require_attribute(message.attribute, field)
    minimum = message.min if message.HasField("min") else None
    maximum = message.max if message.HasField("max") else None
    for name, bound in (("min", minimum), ("max", maximum)):
        if bound is not None and math.isnan(bound):
            raise InvalidRequest(f"{field}.{name}: is NaN; give a number or leave it unset")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise InvalidRequest(f"{field}.min: {minimum} is above max {maximum}; nothing could pass")
    return Range(message.attribute, minimum, maximum)


def _require_attribute(attribute: str, field: str) -> None:
    if not attribute:
        raise InvalidRequest(f"{field}.attribute: must name an attribute, such as brand")
