"""Encodes responses as the bytes of their protobuf messages, without making the messages.

Written by hand because a hundred candidates are a hundred messages of ten fields: to make them in Python takes longer
than the search (`docs/adr/0020-what-stays-hand-written.md` has the figures). An item's own fields are therefore
serialised once (`FragmentCache`), and a response joins them with the scores:

    RetrieveResponse = candidates field: header │ item's fragment (cached) │ score │ source scores
                       candidates field: header │ …
                       release id, timings, … (an ordinary message)

The order is free, since protobuf parsers accept the fields of a message in any order
(https://protobuf.dev/programming-guides/encoding/#order).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from shortlist.retrieval.v1 import retrieval_pb2

from common.arrays import BoolMask, Float32Array, Int8Array, RowIndices
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.long_tail import LongTail
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.server.fragment_cache import FragmentCache, field_header, with_headers

# Wire types (https://protobuf.dev/programming-guides/encoding/#structure).
_FIXED64: Final = 1
_LENGTH_DELIMITED: Final = 2
_FIXED32: Final = 5


def _tag(message: type, field: str, wire_type: int) -> bytes:
    """Return the tag of a field with a number below 16."""
    return bytes([message.DESCRIPTOR.fields_by_name[field].number << 3 | wire_type])  # type: ignore[attr-defined]


_CANDIDATES: Final = _tag(retrieval_pb2.RetrieveResponse, "candidates", _LENGTH_DELIMITED)
_RESPONSES: Final = _tag(retrieval_pb2.BatchRetrieveResponse, "responses", _LENGTH_DELIMITED)
_SCORE: Final = _tag(retrieval_pb2.Candidate, "score", _FIXED64)
_SCORE_BYTES: Final = len(_SCORE) + 8
_SOURCES: Final = _tag(retrieval_pb2.Candidate, "sources", _LENGTH_DELIMITED)
_SOURCE_SCORE: Final = _tag(retrieval_pb2.SourceScore, "score", _FIXED32)
_COLUMNS: Final = _tag(retrieval_pb2.RetrieveResponse, "columns", _LENGTH_DELIMITED)
_COLUMN_SCORES: Final = _tag(retrieval_pb2.CandidateColumns, "scores", _LENGTH_DELIMITED)
_COLUMN_SOURCES: Final = _tag(retrieval_pb2.CandidateColumns, "sources", _LENGTH_DELIMITED)
_SOURCE_COLUMN_SCORES: Final = _tag(retrieval_pb2.SourceColumn, "scores", _LENGTH_DELIMITED)


def candidate_fragments(cache_size: int, tail: LongTail) -> FragmentCache:
    """Return a cache of the fragments that `encode_candidates` joins."""
    return FragmentCache(cache_size, partial(_serialise_candidates, tail))


def id_fragments(cache_size: int) -> FragmentCache:
    """Return a cache of the fragments that `encode_columns` joins."""
    return FragmentCache(cache_size, _serialise_ids)


def encode_candidates(candidates: Candidates, fragments: FragmentCache) -> bytes:
    """Encode the field `candidates` of a `RetrieveResponse`.

    Args:
        candidates: What was found.
        fragments: Of `candidate_fragments`.
    """
    if not len(candidates):
        return b""
    snapshot, rows, table = candidates.snapshot, candidates.rows, _score_table(candidates)
    pieces: list[bytes] = [b""] * (2 * len(rows))
    has_score = ~np.isnan(candidates.source_scores)
    if has_score.all():
        pieces[::2] = fragments.fragments_with_header(snapshot, rows, _CANDIDATES, table.itemsize)
        pieces[1::2] = table.view(f"V{table.itemsize}").tolist()
        return b"".join(pieces)
    pieces[1::2] = scores_of_rows = _without_missing_scores(table, has_score, candidates.sources)
    lengths = [len(scores) for scores in scores_of_rows]
    pieces[::2] = with_headers(_CANDIDATES, fragments.fragments(snapshot, rows), lengths)
    return b"".join(pieces)


def encode_with_source_columns(candidates: Candidates, fragments: FragmentCache) -> bytes:
    """Encode the field `candidates` without the sources' scores, and `columns` with them alone.

    Args:
        candidates: What was found.
        fragments: Of `candidate_fragments`.
    """
    without = replace(candidates, sources=(), source_scores=candidates.source_scores[:, :0])
    columns = _source_columns(candidates)
    return b"".join([encode_candidates(without, fragments), field_header(_COLUMNS, sum(map(len, columns))), *columns])


def encode_vectors(vectors: Float32Array) -> bytes:
    """Encode the field `columns` with vectors alone; a parser merges it with another `columns` of the same message.

    Args:
        vectors: The candidates' vectors; shape [candidates, dimension].
    """
    encoded = retrieval_pb2.CandidateColumns(vectors_i8=_scaled_to_int8(vectors).tobytes()).SerializeToString()
    return field_header(_COLUMNS, len(encoded)) + encoded


def encode_conditions(conditions: Sequence[BoolMask | str]) -> bytes:
    """Encode the field `conditions`: for each, whether it holds for each candidate, or why it cannot be evaluated."""
    if not conditions:
        return b""
    results = [
        retrieval_pb2.ConditionResult(fault=each)
        if isinstance(each, str)
        else retrieval_pb2.ConditionResult(holds=each.astype(np.uint8).tobytes())
        for each in conditions
    ]
    return retrieval_pb2.RetrieveResponse(conditions=results).SerializeToString()


def encode_columns(candidates: Candidates, fragments: FragmentCache) -> bytes:
    """Encode the field `columns` of a `RetrieveResponse`.

    Args:
        candidates: What was found.
        fragments: Of `id_fragments`.
    """
    pieces = fragments.fragments(candidates.snapshot, candidates.rows)
    pieces += _packed(_COLUMN_SCORES, candidates.scores.astype("<f8", copy=False))
    pieces += _source_columns(candidates)
    return field_header(_COLUMNS, sum(map(len, pieces))) + b"".join(pieces)


def encode_response(
    candidates: Candidates, encoded: bytes, evidence: bytes, release_id: str, encode_s: float, total_s: float
) -> bytes:
    """Encode a `RetrieveResponse`.

    Args:
        candidates: What was found.
        encoded: The same, encoded as candidates or columns.
        evidence: What the sources go by; see `encode_evidence`.
        release_id: The release that was searched.
        encode_s: How long the query's embedding took, in seconds.
        total_s: How long the whole request took, in seconds.
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
        corrected_query=candidates.query if candidates.is_corrected else "",
    )
    return encoded + evidence + rest.SerializeToString()


def encode_evidence(evidence_of: Mapping[str, str]) -> bytes:
    """Encode the field `evidence` of a `RetrieveResponse`, given by source name."""
    messages = [
        retrieval_pb2.SourceEvidence(source=name, evidence=retrieval_pb2.Evidence.Value(f"EVIDENCE_{evidence.upper()}"))
        for name, evidence in sorted(evidence_of.items())
    ]
    return retrieval_pb2.RetrieveResponse(evidence=messages).SerializeToString()


def encode_batch(responses: Sequence[bytes]) -> bytes:
    """Encode a `BatchRetrieveResponse` of encoded responses."""
    return b"".join(piece for response in responses for piece in (field_header(_RESPONSES, len(response)), response))


def _scaled_to_int8(vectors: Float32Array) -> Int8Array:
    """Scale each vector to a largest number of 127 and round: the direction is kept to about a percent."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    scaled: Int8Array = np.rint(vectors * (127.0 / np.where(largest > 0, largest, 1.0))).astype(np.int8)
    return scaled


def _source_columns(candidates: Candidates) -> list[bytes]:
    source_scores = candidates.source_scores.astype("<f4", copy=False)
    pieces: list[bytes] = []
    for place, name in enumerate(candidates.sources):
        column = b"".join([_column_name(name), *_packed(_SOURCE_COLUMN_SCORES, source_scores[:, place])])
        pieces += (field_header(_COLUMN_SOURCES, len(column)), column)
    return pieces


def _packed(tag: bytes, numbers: np.ndarray[Any, Any]) -> tuple[bytes, bytes]:
    return field_header(tag, numbers.nbytes), numbers.tobytes()


def _serialise_ids(snapshot: Snapshot, rows: RowIndices) -> Iterable[bytes]:
    return [
        retrieval_pb2.CandidateColumns(item_ids=[item_id]).SerializeToString() for item_id in snapshot.item_ids(rows)
    ]


def _serialise_candidates(tail: LongTail, snapshot: Snapshot, rows: RowIndices) -> Iterable[bytes]:
    is_added, is_long_tail = (rows >= len(snapshot.base)).tolist(), tail.contains(snapshot, rows).tolist()
    is_new = (snapshot.origin_of(rows) < 0).tolist()
    return list(map(_serialise_candidate, snapshot.items_at(rows), is_added, is_long_tail, is_new))


def _serialise_candidate(item: Item, is_added: bool, is_long_tail: bool, is_new: bool) -> bytes:
    candidate = retrieval_pb2.Candidate(
        item_id=item.item_id,
        title=item.title,
        brand=item.brand,
        category=item.category,
        price=item.price,
        available=item.available,
        text=item.text if is_added else "",
        long_tail=is_long_tail,
        text_hash=_text_hash(item.text),
        new_item=is_new,
    )
    return candidate.SerializeToString()


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) or 1


def _score_table(candidates: Candidates) -> np.ndarray[Any, Any]:
    """Return each candidate's encoded `score` and `sources` as a row of a structured array; shape [candidates]."""
    table = np.repeat(_score_row(candidates.sources), len(candidates))
    table["score"] = candidates.scores
    for place in range(len(candidates.sources)):
        table[f"value{place}"] = candidates.source_scores[:, place]
    return table


def _without_missing_scores(table: np.ndarray[Any, Any], has_score: BoolMask, sources: Sequence[str]) -> list[bytes]:
    """Return the rows of a score table, each without the bytes of the sources that did not find the candidate."""
    widths = [len(_before_source_score(name)) + 4 for name in sources]
    always = np.ones((len(has_score), _SCORE_BYTES), np.bool_)
    kept = np.concatenate([always, np.repeat(has_score, widths, axis=1)], axis=1)
    encoded, ends = table.view(np.uint8).reshape(kept.shape)[kept].tobytes(), kept.sum(axis=1).cumsum().tolist()
    return [encoded[start:end] for start, end in pairwise([0, *ends])]


@cache
def _score_row(sources: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """Return one row of the score table, complete but for the scores."""
    before = [_before_source_score(name) for name in sources]
    columns: list[tuple[str, str]] = [("tag", f"S{len(_SCORE)}"), ("score", "<f8")]
    for place, encoded in enumerate(before):
        columns += [(f"before{place}", f"V{len(encoded)}"), (f"value{place}", "<f4")]
    row = np.zeros(1, dtype=columns)
    row["tag"] = _SCORE
    for place, encoded in enumerate(before):
        row[f"before{place}"] = np.void(encoded)
    return row


@cache
def _column_name(source: str) -> bytes:
    return retrieval_pb2.SourceColumn(source=source).SerializeToString()


@cache
def _before_source_score(source: str) -> bytes:
    """Return the encoded `SourceScore` of a source up to the value of its score."""
    encoded = retrieval_pb2.SourceScore(source=source).SerializeToString() + _SOURCE_SCORE
    return field_header(_SOURCES, len(encoded) + 4) + encoded
