"""Parses protobuf requests and checks the contract's limits; error messages name the field."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from shortlist.ranking.v1 import ranking_pb2

from common.arrays import Float32Array, RowIndices
from common.errors import InvalidRequest, NotFound
from common.markup import plain_text
from common.release.catalogue import Catalogue
from common.release.event_weights import EQUAL_WEIGHTS, EventWeights, check_kinds
from common.text import MAX_QUERY_CHARACTERS, MAX_TEXT_CHARACTERS, normalised
from services.ranking.request import MAX_CANDIDATES, CandidateRows, Priority, UserRows
from services.ranking.server.live_item_texts import NO_LIVE_TEXTS

MAX_HISTORY: Final = 10_000
_MAX_NAMED_ITEMS: Final = 5
_PRIORITIES: Final = {
    ranking_pb2.PRIORITY_UNSPECIFIED: Priority.INTERACTIVE,
    ranking_pb2.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    ranking_pb2.PRIORITY_BATCH: Priority.BATCH,
}


@dataclass(frozen=True)
class ParsedUser:
    """A request's user.

    Attributes:
        rows: The user in catalogue rows.
        ignored_items: How many history items the release does not know.
    """

    rows: UserRows
    ignored_items: int


@dataclass(frozen=True)
class ParsedCandidates:
    """A request's candidates.

    Attributes:
        rows: The candidates in catalogue rows.
        texts: Texts to read instead of the catalogue's, by the candidate's index.
    """

    rows: CandidateRows
    texts: dict[int, str]


def parse_user(
    message: ranking_pb2.UserContext, catalogue: Catalogue, weights: EventWeights = EQUAL_WEIGHTS
) -> ParsedUser:
    """Parse the user.

    Args:
        message: The user.
        catalogue: The release's items.
        weights: How much the release counts each kind of event.

    Raises:
        InvalidRequest: Names the field.
    """
    if len(message.query) > MAX_QUERY_CHARACTERS:
        raise InvalidRequest(f"user.query: at most {MAX_QUERY_CHARACTERS:,} characters, has {len(message.query):,}")
    count = len(message.history_item_ids)
    if count > MAX_HISTORY:
        raise InvalidRequest(f"user.history_item_ids: at most {MAX_HISTORY:,}, has {count:,}; send the latest")
    check_kinds("user.history_kinds", message.history_kinds, count)
    ages = len(message.history_ages_s)
    if ages not in (0, count):
        raise InvalidRequest(f"user.history_ages_s: {ages:,} given for {count:,} items; give one for each, or none")
    rows = catalogue.rows_of(message.history_item_ids)
    user = UserRows.from_history(
        rows, normalised(plain_text(message.query)), weights, message.history_kinds, message.history_ages_s
    )
    return ParsedUser(user, int(np.count_nonzero(rows < 0)))


def parse_candidates(
    messages: Sequence[ranking_pb2.RankCandidate],
    catalogue: Catalogue,
    sources: Collection[str],
    live: Mapping[str, str] = NO_LIVE_TEXTS,
) -> ParsedCandidates:
    """Parse the candidates.

    Args:
        messages: The candidates.
        catalogue: The release's items.
        sources: The candidate sources whose scores are read; others are ignored.
        live: The texts of items added or replaced since the release, by id; a text in the request takes precedence.

    Raises:
        InvalidRequest: Names the candidate by its index.
        NotFound: Names the first items that the release does not have.
    """
    _checked_count(len(messages))
    messages = list(messages)  # protobuf makes a new object of each message on every iteration
    # Most candidates are only an id, which needs no check: with hundreds a request, that saves noticeable time.
    with_text = [index for index, one in enumerate(messages) if not one.item_id or one.HasField("text")]
    texts = {index: _text(messages[index], f"candidates[{index}]") for index in with_text}
    return _candidates(messages, texts, catalogue, sources, live)


def parse_columns(
    message: ranking_pb2.CandidateColumns,
    catalogue: Catalogue,
    sources: Collection[str],
    live: Mapping[str, str] = NO_LIVE_TEXTS,
) -> ParsedCandidates:
    """Parse candidates that are given as columns; see `parse_candidates`."""
    item_ids, given = list(message.item_ids), list(message.texts)
    count = _checked_count(len(item_ids))
    _check_length("first_stage_scores", len(message.first_stage_scores), count)
    _check_length("texts", len(given), count)
    texts = {}
    for index in [at for at, item_id in enumerate(item_ids) if not item_id or (given and given[at])]:
        text = given[index] if given else ""
        one = ranking_pb2.RankCandidate(item_id=item_ids[index], text=text or None)
        texts[index] = _text(one, f"columns[{index}]")
    rows = _rows(item_ids, texts, catalogue, live)
    scores = _finite(list(message.first_stage_scores)) if message.first_stage_scores else _missing(count)
    columns = {source: _missing(count) for source in sources}
    for column in message.sources:
        _check_length(f"sources[{column.source!r}].scores", len(column.scores), count)
        if column.source in columns and len(column.scores):
            columns[column.source] = _finite(list(column.scores))
    return ParsedCandidates(CandidateRows(rows, scores, columns), texts)


def count_candidates(message: ranking_pb2.RankRequest) -> int:
    """Return how many candidates a request has; raises InvalidRequest if it gives them in two forms."""
    if not message.HasField("columns"):
        return len(message.candidates)
    if message.candidates:
        raise InvalidRequest("columns: given together with candidates; give one of them")
    if message.sort:
        raise InvalidRequest("sort: has no effect on columns, which are answered in their order; leave it unset")
    return len(message.columns.item_ids)


def parse_explained(
    message: ranking_pb2.ExplainRequest,
    catalogue: Catalogue,
    sources: Collection[str],
    live: Mapping[str, str] = NO_LIVE_TEXTS,
) -> ParsedCandidates:
    """Parse the candidate to explain, at the request's index among the others; see `parse_candidates`."""
    if not message.HasField("candidate"):
        raise InvalidRequest("candidate: required")
    others, index = list(message.other_candidates), message.index
    if len(others) >= MAX_CANDIDATES:
        raise InvalidRequest(f"other_candidates: at most {MAX_CANDIDATES - 1:,}, has {len(others):,}")
    if index > len(others):
        raise InvalidRequest(f"index: at most {len(others):,}, the number of other candidates, is {index:,}")
    texts = {}
    if text := _text(message.candidate, "candidate"):
        texts[index] = text
    for at, other in enumerate(others):
        if text := _text(other, f"other_candidates[{at}]"):
            texts[at if at < index else at + 1] = text
    return _candidates([*others[:index], message.candidate, *others[index:]], texts, catalogue, sources, live)


def parse_priority(message: ranking_pb2.RankRequest) -> Priority:
    """Parse who waits; raises InvalidRequest."""
    if message.priority not in _PRIORITIES:
        raise InvalidRequest(f"priority: {message.priority} is not a value of Priority")
    return _PRIORITIES[message.priority]


def parse_min_depth(message: ranking_pb2.RankRequest, depth: int) -> int:
    """Parse how many of ``depth`` candidates the cross-encoder must read at least; raises InvalidRequest."""
    min_depth, max_depth = message.min_cross_encoder_depth, min(depth, count_candidates(message))
    if min_depth > max_depth:
        raise InvalidRequest(
            f"min_cross_encoder_depth: at most {max_depth:,}, the most candidates that the cross-encoder may read, is "
            f"{min_depth:,}"
        )
    return min_depth


def _text(message: ranking_pb2.RankCandidate, field: str) -> str:
    """Return a candidate's text, empty if it has none."""
    if len(message.text) > MAX_TEXT_CHARACTERS:
        raise InvalidRequest(f"{field}.text: at most {MAX_TEXT_CHARACTERS:,} characters, has {len(message.text):,}")
    text = normalised(plain_text(message.text))
    if message.HasField("text") and not text:
        raise InvalidRequest(f"{field}.text: must not be blank")
    if not (message.item_id or text):
        raise InvalidRequest(f"{field}: needs an item_id or a text")
    return text


def _candidates(
    messages: Sequence[ranking_pb2.RankCandidate],
    texts: dict[int, str],
    catalogue: Catalogue,
    sources: Collection[str],
    live: Mapping[str, str],
) -> ParsedCandidates:
    rows = _rows([message.item_id for message in messages], texts, catalogue, live)
    scores = [one.first_stage_score if one.HasField("first_stage_score") else math.nan for one in messages]
    return ParsedCandidates(CandidateRows(rows, _finite(scores), _sources(messages, sources)), texts)


def _rows(item_ids: Sequence[str], texts: dict[int, str], catalogue: Catalogue, live: Mapping[str, str]) -> RowIndices:
    """Return the catalogue rows of candidates, and add the live texts that differ to ``texts``."""
    rows = catalogue.rows_of(item_ids)
    for index, item_id in enumerate(item_ids if live else ()):
        text = live.get(item_id)
        # An unchanged text is not taken from the stream: the release has its tokens ready.
        if text is not None and index not in texts and (rows[index] < 0 or catalogue.text(int(rows[index])) != text):
            texts[index] = text
    unknown = [item_ids[index] for index in np.flatnonzero(rows < 0).tolist() if index not in texts]
    if unknown:
        raise _not_found(unknown)
    return rows


def _checked_count(count: int) -> int:
    if not 1 <= count <= MAX_CANDIDATES:
        raise InvalidRequest(f"candidates: 1 to {MAX_CANDIDATES:,}, has {count:,}")
    return count


def _check_length(name: str, length: int, count: int) -> None:
    if length not in (0, count):
        raise InvalidRequest(f"columns.{name}: {length:,} given for {count:,} items; give one for each, or none")


def _missing(count: int) -> Float32Array:
    return np.full(count, np.nan, dtype=np.float32)


def _sources(messages: Sequence[ranking_pb2.RankCandidate], sources: Collection[str]) -> dict[str, Float32Array]:
    columns = {source: [math.nan] * len(messages) for source in sources}
    for index, message in enumerate(messages if sources else ()):
        for score in message.sources:
            if (column := columns.get(score.source)) is not None:
                column[index] = score.score
    return {source: _finite(column) for source, column in columns.items()}


def _finite(values: Sequence[float]) -> Float32Array:
    """Return float32 values, NaN for those that are not finite."""
    with np.errstate(over="ignore"):
        array = np.array(values, dtype=np.float32)
    array[~np.isfinite(array)] = np.nan
    return array


def _not_found(unknown: list[str]) -> NotFound:
    names = ", ".join(repr(item_id) for item_id in unknown[:_MAX_NAMED_ITEMS])
    more = f" and {len(unknown) - _MAX_NAMED_ITEMS:,} more" if len(unknown) > _MAX_NAMED_ITEMS else ""
    return NotFound(f"candidates: the release does not have {names}{more}; leave them out or send their text")
