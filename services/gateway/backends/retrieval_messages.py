"""Requests to retrieval and its answers, between values and messages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, cast, overload

from shortlist.retrieval.v1 import retrieval_pb2

from common.server.filter_messages import write_filter
from services.gateway.backends.stages import RetrievalResult, RetrieveRequest, StageUnavailable
from services.gateway.candidates import Candidate, Evidence

# A service of a later version may name evidence that this gateway does not know.
_EVIDENCE: Final = {retrieval_pb2.Evidence.Value(f"EVIDENCE_{evidence}"): evidence for evidence in Evidence}


class SourceScores(Sequence[tuple[str, float]]):
    """The scores of a candidate's sources in the columns that retrieval sent; read only if an answer explains.

    Attributes:
        columns: The columns of all candidates.
        position: The candidate's position in them.
    """

    __slots__ = ("columns", "position")

    def __init__(self, columns: retrieval_pb2.CandidateColumns, position: int) -> None:
        self.columns = columns
        self.position = position

    @overload
    def __getitem__(self, index: int) -> tuple[str, float]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, float]]: ...

    def __getitem__(self, index: int | slice) -> tuple[str, float] | Sequence[tuple[str, float]]:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[tuple[str, float]]:
        scores = ((column.source, column.scores[self.position]) for column in self.columns.sources)
        return ((source, score) for source, score in scores if not math.isnan(score))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


def write_retrieve_request(request: RetrieveRequest) -> retrieval_pb2.RetrieveRequest:
    """Return a request as a message."""
    return retrieval_pb2.RetrieveRequest(
        query=request.query,
        history_item_ids=request.history,
        history_kinds=write_kinds(request.history_kinds),
        filter=None if request.filter is None else write_filter(request.filter),
        exclude_item_ids=request.exclude,
        limit=request.limit,
        sources=request.sources,
        distinct_texts=request.distinct_texts,
        exclude_history=request.exclude_history,
        source_columns=True,
        keep_query=request.keep_query,
        vectors=request.vectors,
        include_item_ids=request.include,
        conditions=map(write_filter, request.conditions),
        evidence=[retrieval_pb2.Evidence.Value(f"EVIDENCE_{each}") for each in request.evidence],
        priority=retrieval_pb2.PRIORITY_BATCH if request.is_batch else retrieval_pb2.PRIORITY_UNSPECIFIED,
    )


def write_kinds(kinds: Sequence[int]) -> Sequence[retrieval_pb2.EventKind.ValueType]:
    """Return kinds of event, by number, as a message has them."""
    return cast("Sequence[retrieval_pb2.EventKind.ValueType]", kinds)  # the numbers are the contract's


def read_retrieval_result(response: retrieval_pb2.RetrieveResponse) -> RetrievalResult:
    """Return an answer as a value; raises StageUnavailable if its columns do not fit its candidates."""
    columns = response.columns
    if any(len(column.scores) != len(response.candidates) for column in columns.sources):
        raise StageUnavailable("retrieval did not give one score of each source for each candidate")
    vectors = _vectors(columns.vectors_i8, len(response.candidates))
    holds = _holds(response)
    return RetrievalResult(
        [
            _candidate(message, _sources(message, columns, index), vectors[index], holds[index])
            for index, message in enumerate(response.candidates)
        ],
        response.release_id,
        response.ignored_history_items,
        evidence={each.source: _EVIDENCE[each.evidence] for each in response.evidence if each.evidence in _EVIDENCE},
        condition_faults={number: each.fault for number, each in enumerate(response.conditions) if each.fault},
        corrected_query=response.corrected_query,
    )


def _holds(response: retrieval_pb2.RetrieveResponse) -> Sequence[frozenset[int]]:
    """Return which conditions hold for each candidate, by their positions."""
    count = len(response.candidates)
    if not response.conditions:
        return [frozenset()] * count
    columns = [(number, each.holds) for number, each in enumerate(response.conditions) if not each.fault]
    if any(len(holds) != count for _, holds in columns):
        raise StageUnavailable("retrieval did not evaluate each condition for each candidate")
    return [frozenset(number for number, holds in columns if holds[at]) for at in range(count)]


def _vectors(encoded: bytes, count: int) -> Sequence[bytes]:
    """Return each candidate's vector; empty ones if retrieval sent none, as one that does not know `vectors` does."""
    size = len(encoded) // count if count else 0
    if size * count != len(encoded):
        raise StageUnavailable("retrieval did not give one vector for each candidate")
    return [encoded[at : at + size] for at in range(0, len(encoded), size)] if size else [b""] * count


def _sources(
    message: retrieval_pb2.Candidate, columns: retrieval_pb2.CandidateColumns, index: int
) -> Sequence[tuple[str, float]]:
    """Return a candidate's scores; a retrieval service that knows no `source_columns` sends them in the candidate."""
    if columns.sources:
        return SourceScores(columns, index)
    return tuple((source.source, source.score) for source in message.sources)


def _candidate(
    message: retrieval_pb2.Candidate, sources: Sequence[tuple[str, float]], vector: bytes, holds: frozenset[int]
) -> Candidate:
    return Candidate(
        message.item_id,
        message.score,
        sources,
        message.title,
        message.brand,
        message.category,
        message.price if message.HasField("price") else None,
        message.available,
        message.long_tail,
        message.text,
        message.text_hash,
        message.new_item,
        vector,
        holds,
    )
