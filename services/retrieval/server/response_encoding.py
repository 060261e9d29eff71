"""Answers as bytes: what a protobuf message of them would be, without making the message.

A hundred candidates are a hundred messages of ten fields, which takes longer to make in Python than the search for
them. What does not change of an item is therefore serialised once (`CandidateFragments`), and an answer is those pieces
joined with the scores: protobuf reads the fields of a message in any order
(https://protobuf.dev/programming-guides/encoding/#order).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from shortlist.retrieval.v1 import retrieval_pb2

from common.arrays import BoolMask, RowIndices
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.long_tail import LongTail
from services.retrieval.catalogue.snapshot import Snapshot

_LENGTH_DELIMITED: Final = 2


_DOUBLE: Final = 1


_FLOAT: Final = 5


_CANDIDATE: Final = retrieval_pb2.Candidate


# Most answers of a server come from the same sources: beginnings of so many sizes are remembered.
_SIZES: Final = 2


_SCORE_BYTES: Final = 9  # a tag and a double


def tag(message: type, field: str, kind: int) -> bytes:
    """Return what stands before a field's value; for field numbers below 16."""
    return bytes([message.DESCRIPTOR.fields_by_name[field].number << 3 | kind])  # type: ignore[attr-defined]


_CANDIDATES: Final = tag(retrieval_pb2.RetrieveResponse, "candidates", _LENGTH_DELIMITED)


_RESPONSES: Final = tag(retrieval_pb2.BatchRetrieveResponse, "responses", _LENGTH_DELIMITED)


_SCORE: Final = tag(_CANDIDATE, "score", _DOUBLE)


_SOURCES: Final = tag(_CANDIDATE, "sources", _LENGTH_DELIMITED)


_COLUMNS: Final = tag(retrieval_pb2.RetrieveResponse, "columns", _LENGTH_DELIMITED)


_COLUMN_SCORES: Final = tag(retrieval_pb2.CandidateColumns, "scores", _LENGTH_DELIMITED)


_COLUMN_SOURCES: Final = tag(retrieval_pb2.CandidateColumns, "sources", _LENGTH_DELIMITED)


_SOURCE_COLUMN_SCORES: Final = tag(retrieval_pb2.SourceColumn, "scores", _LENGTH_DELIMITED)


_VALUE: Final = tag(retrieval_pb2.SourceScore, "score", _FLOAT)


class CandidateFragments:
    """Of each item the part of an answer that no request changes, serialised once.

    Safe for threads: two may make the same fragment, which is the same bytes.

    Args:
        kept: How many fragments are remembered; some 300 bytes each of candidates, 80 of ids.
        make: Serialises items of a snapshot.
    """

    def __init__(self, kept: int, make: Callable[[Snapshot, RowIndices], Iterable[bytes]]) -> None:
        self._kept = kept
        self._make = make
        self._known: dict[int | Item, bytes] = {}
        self._begun: dict[tuple[bytes, int], dict[int | Item, bytes]] = {}

    def of(self, snapshot: Snapshot, rows: RowIndices) -> list[bytes]:
        """Return the fragments of a snapshot's items; the release's are known by row, others as the items they are."""
        return self._all(self._known, snapshot, rows, self._make)

    def begun(self, snapshot: Snapshot, rows: RowIndices, field: bytes, further: int) -> list[bytes]:
        """Return the same as values of a field that go on for ``further`` bytes, from the tag on."""

        def begin(snapshot: Snapshot, rows: RowIndices) -> Iterable[bytes]:
            return (_begin(field, len(fragment) + further) + fragment for fragment in self.of(snapshot, rows))

        known = self._begun.get((field, further))
        if known is None:
            if len(self._begun) >= _SIZES:
                self._begun = {}
            known = self._begun.setdefault((field, further), {})
        return self._all(known, snapshot, rows, begin)

    def _all(
        self,
        known: dict[int | Item, bytes],
        snapshot: Snapshot,
        rows: RowIndices,
        make: Callable[[Snapshot, RowIndices], Iterable[bytes]],
    ) -> list[bytes]:
        """Return what is known of items, made and remembered for those of which nothing is."""
        keys = _keys(snapshot, rows)
        with suppress(KeyError):  # mostly all are known
            return list(map(known.__getitem__, keys))
        pieces: list[Any] = list(map(known.get, keys))
        missing = [place for place, piece in enumerate(pieces) if piece is None]
        if len(known) + len(missing) > self._kept:
            known.clear()  # choosing what to forget would cost more
        for place, piece in zip(missing, make(snapshot, rows[missing]), strict=True):
            pieces[place] = known[keys[place]] = piece
        return pieces


def _keys(snapshot: Snapshot, rows: RowIndices) -> Sequence[int | Item]:
    numbers: list[int] = rows.tolist()
    base = len(snapshot.base)
    if not numbers or max(numbers) < base:  # mostly all are of the release
        return numbers
    items = snapshot.delta.items
    return [row if row < base else items[row - base] for row in numbers]


def candidate_fragments(kept: int, tail: LongTail) -> CandidateFragments:
    """Return the fragments that `write_candidates` joins."""
    return CandidateFragments(kept, partial(_candidates, tail))


def write_candidates(candidates: Candidates, fragments: CandidateFragments) -> bytes:
    """Write the field `candidates` of a `RetrieveResponse`; ``fragments`` are candidates'."""
    if not len(candidates):
        return b""
    snapshot, rows, table = candidates.snapshot, candidates.rows, _scores(candidates)
    pieces: list[bytes] = [b""] * (2 * len(rows))
    found = candidates.source_scores == candidates.source_scores  # NaN where a source is silent
    if found.all():
        pieces[::2] = fragments.begun(snapshot, rows, _CANDIDATES, table.itemsize)
        pieces[1::2] = table.view(f"V{table.itemsize}").tolist()
        return b"".join(pieces)
    pieces[1::2] = said = _without_silent(table, found, candidates.sources)
    pieces[::2] = [
        _begin(_CANDIDATES, len(fragment) + len(scores)) + fragment
        for fragment, scores in zip(fragments.of(snapshot, rows), said, strict=True)
    ]
    return b"".join(pieces)


def id_fragments(kept: int) -> CandidateFragments:
    """Return the fragments that `write_columns` joins."""
    return CandidateFragments(kept, _ids)


def write_columns(candidates: Candidates, fragments: CandidateFragments) -> bytes:
    """Write the field `columns` of a `RetrieveResponse`; ``fragments`` are ids'."""
    pieces = fragments.of(candidates.snapshot, candidates.rows)
    pieces += _packed(_COLUMN_SCORES, candidates.scores.astype("<f8", copy=False))
    said = candidates.source_scores.astype("<f4", copy=False)
    for place, name in enumerate(candidates.sources):
        column = b"".join([_named(name), *_packed(_SOURCE_COLUMN_SCORES, said[:, place])])
        pieces += (_begin(_COLUMN_SOURCES, len(column)), column)
    return _begin(_COLUMNS, sum(map(len, pieces))) + b"".join(pieces)


def write_batch(responses: Sequence[bytes]) -> bytes:
    """Write a `BatchRetrieveResponse` of its serialised answers."""
    return b"".join(piece for response in responses for piece in (_begin(_RESPONSES, len(response)), response))


def _packed(field: bytes, numbers: np.ndarray[Any, Any]) -> tuple[bytes, bytes]:
    return _begin(field, numbers.nbytes), numbers.tobytes()


def _ids(snapshot: Snapshot, rows: RowIndices) -> Iterable[bytes]:
    return (
        retrieval_pb2.CandidateColumns(item_ids=[item_id]).SerializeToString() for item_id in snapshot.item_ids(rows)
    )


def _candidates(tail: LongTail, snapshot: Snapshot, rows: RowIndices) -> Iterable[bytes]:
    return map(
        _fragment,
        snapshot.items_at(rows),
        (rows >= len(snapshot.base)).tolist(),
        tail.contains(snapshot, rows).tolist(),
    )


def _fragment(item: Item, is_live: bool, of_tail: bool) -> bytes:
    message = _CANDIDATE(
        item_id=item.item_id,
        title=item.title,
        brand=item.brand,
        category=item.category,
        price=item.price,
        available=item.available,
        text=item.text if is_live else "",
        long_tail=of_tail,
    )
    return message.SerializeToString()


def _scores(candidates: Candidates) -> np.ndarray[Any, Any]:
    """Return each candidate's score and what the sources said of it: a row of a table, with room for every source."""
    table = np.repeat(_row(candidates.sources), len(candidates))
    table["score"] = candidates.scores
    for place in range(len(candidates.sources)):
        table[f"value{place}"] = candidates.source_scores[:, place]
    return table


def _without_silent(table: np.ndarray[Any, Any], found: BoolMask, sources: Sequence[str]) -> list[bytes]:
    """Return the rows without the places of sources that were silent."""
    widths = [len(_before_value(name)) + 4 for name in sources]
    kept = np.concatenate([np.ones((len(found), _SCORE_BYTES), np.bool_), np.repeat(found, widths, axis=1)], axis=1)
    said, ends = table.view(np.uint8).reshape(kept.shape)[kept].tobytes(), kept.sum(axis=1).cumsum().tolist()
    return [said[start:end] for start, end in pairwise([0, *ends])]


@cache
def _row(sources: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """Return one row of the table of scores, with everything in place but the scores."""
    before = [_before_value(name) for name in sources]
    columns: list[tuple[str, str]] = [("tag", f"S{len(_SCORE)}"), ("score", "<f8")]
    for place, data in enumerate(before):
        columns += [(f"before{place}", f"V{len(data)}"), (f"value{place}", "<f4")]
    row = np.zeros(1, dtype=columns)
    row["tag"] = _SCORE
    for place, data in enumerate(before):
        row[f"before{place}"] = np.void(data)
    return row


@cache
def _named(source: str) -> bytes:
    return retrieval_pb2.SourceColumn(source=source).SerializeToString()


@cache
def _before_value(source: str) -> bytes:
    """Return a source's entry up to its score."""
    named = retrieval_pb2.SourceScore(source=source).SerializeToString() + _VALUE
    return _begin(_SOURCES, len(named) + 4) + named


@lru_cache(4_096)
def _begin(field: bytes, length: int) -> bytes:
    """Return what stands before a value of ``length`` bytes: the tag, and the length in groups of seven bits."""
    groups = bytearray(field)
    while length > 0x7F:  # noqa: PLR2004 - seven bits
        groups.append(length & 0x7F | 0x80)
        length >>= 7
    groups.append(length)
    return bytes(groups)
