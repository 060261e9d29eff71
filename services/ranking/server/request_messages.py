"""Requests off the wire and answers onto it: held to the contract's limits, with messages that name the field."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from shortlist.ranking.v1 import ranking_pb2

from common.errors import InvalidRequest, NotFound
from common.release.catalogue import Catalogue
from common.text import MAX_QUERY_CHARACTERS, MAX_TEXT_CHARACTERS
from services.ranking.batching.job import Priority
from services.ranking.request import MAX_CANDIDATES, CandidateRows, UserRows
from services.ranking.server.live_item_texts import NO_LIVE_TEXTS

MAX_HISTORY: Final = 10_000


_NAMED_UNKNOWN: Final = 5


_PRIORITIES: Final = {
    ranking_pb2.PRIORITY_UNSPECIFIED: Priority.INTERACTIVE,
    ranking_pb2.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    ranking_pb2.PRIORITY_BATCH: Priority.BATCH,
}


@dataclass(frozen=True)
class UserInput:
    """What a request says of the user, and how many history items the release does not know."""

    rows: UserRows
    ignored: int


@dataclass(frozen=True)
class Candidates:
    """What a request says of its candidates, and by place the texts of those that the catalogue's are not good for."""

    rows: CandidateRows
    texts: dict[int, str]


def read_user(message: ranking_pb2.UserContext, catalogue: Catalogue) -> UserInput:
    """Return what is known of the user; raises InvalidRequest."""
    if len(message.query) > MAX_QUERY_CHARACTERS:
        raise InvalidRequest(f"user.query: at most {MAX_QUERY_CHARACTERS:,} characters, has {len(message.query):,}")
    count = len(message.history_item_ids)
    if count > MAX_HISTORY:
        raise InvalidRequest(f"user.history_item_ids: at most {MAX_HISTORY:,}, has {count:,}; give the latest")
    rows = catalogue.rows_of(message.history_item_ids)
    known = rows[rows >= 0]
    return UserInput(UserRows(known, message.query), count - len(known))


def read_candidates(
    messages: Sequence[ranking_pb2.RankCandidate],
    catalogue: Catalogue,
    sources: Collection[str],
    live: Mapping[str, str] = NO_LIVE_TEXTS,
) -> Candidates:
    """Return the candidates.

    Args:
        messages: The candidates.
        catalogue: The release's items.
        sources: The sources whose scores are read; others are passed over.
        live: The texts of items added or replaced since the release, by id; a text that the request gives goes before.

    Raises:
        InvalidRequest: Naming the candidate by its position.
        NotFound: Naming the first items that the release does not have.
    """
    if not 1 <= len(messages) <= MAX_CANDIDATES:
        raise InvalidRequest(f"candidates: 1 to {MAX_CANDIDATES:,}, has {len(messages):,}")
    messages = list(messages)  # protobuf makes an object of each whenever one goes through them
    # Most candidates are an id alone, which needs no check: hundreds of them a request make a difference.
    said = [place for place, one in enumerate(messages) if not one.item_id or one.HasField("text")]
    texts = {place: _text(messages[place], f"candidates[{place}]") for place in said}
    return _candidates(messages, texts, catalogue, sources, live)


def read_candidate(
    message: ranking_pb2.ExplainRequest,
    catalogue: Catalogue,
    sources: Collection[str],
    live: Mapping[str, str] = NO_LIVE_TEXTS,
) -> Candidates:
    """Return the one candidate to explain; see `read_candidates`."""
    if not message.HasField("candidate"):
        raise InvalidRequest("candidate: required")
    one = message.candidate
    text = _text(one, "candidate")
    return _candidates([one], {0: text} if text else {}, catalogue, sources, live)


def read_priority(message: ranking_pb2.RankRequest) -> Priority:
    """Return who waits; raises InvalidRequest."""
    if message.priority not in _PRIORITIES:
        raise InvalidRequest(f"priority: {message.priority} is none of the contract's")
    return _PRIORITIES[message.priority]


def read_min_depth(message: ranking_pb2.RankRequest, depth: int) -> int:
    """Return how many candidates the cross-encoder must read of the ``depth`` it may; raises InvalidRequest."""
    least, most = message.min_cross_encoder_depth, min(depth, len(message.candidates))
    if least > most:
        raise InvalidRequest(
            f"min_cross_encoder_depth: at most {most:,}, which is what the cross-encoder may read here, is {least:,}"
        )
    return least


def _text(message: ranking_pb2.RankCandidate, field: str) -> str:
    """Return the text given, empty for none."""
    if len(message.text) > MAX_TEXT_CHARACTERS:
        raise InvalidRequest(f"{field}.text: at most {MAX_TEXT_CHARACTERS:,} characters, has {len(message.text):,}")
    if message.HasField("text") and not message.text.strip():
        raise InvalidRequest(f"{field}.text: must not be blank")
    if not (message.item_id or message.text):
        raise InvalidRequest(f"{field}: needs an item_id or a text")
    return message.text


def _candidates(
    messages: Sequence[ranking_pb2.RankCandidate],
    texts: dict[int, str],
    catalogue: Catalogue,
    sources: Collection[str],
    live: Mapping[str, str],
) -> Candidates:
    rows = catalogue.rows_of([message.item_id for message in messages])
    for place, message in enumerate(messages if live else ()):
        text = live.get(message.item_id)
        # The release's own text is better left to the release, which has its tokens ready.
        if text is not None and place not in texts and (rows[place] < 0 or catalogue.text(rows[place]) != text):
            texts[place] = text
    unknown = [messages[place].item_id for place in np.flatnonzero(rows < 0).tolist() if place not in texts]
    if unknown:
        _refuse(unknown)
    scores = [one.first_stage_score if one.HasField("first_stage_score") else math.nan for one in messages]
    return Candidates(CandidateRows(rows, _finite(scores), _sources(messages, sources)), texts)


def _sources(
    messages: Sequence[ranking_pb2.RankCandidate], sources: Collection[str]
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    columns = {source: [math.nan] * len(messages) for source in sources}
    for place, message in enumerate(messages if sources else ()):
        for score in message.sources:
            if (column := columns.get(score.source)) is not None:
                column[place] = score.score
    return {source: _finite(column) for source, column in columns.items()}


def _finite(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return float32 values; what is no number is missing."""
    with np.errstate(over="ignore"):
        array = np.array(values, dtype=np.float32)
    array[~np.isfinite(array)] = np.nan
    return array


def _refuse(unknown: list[str]) -> None:
    names = ", ".join(repr(item_id) for item_id in unknown[:_NAMED_UNKNOWN])
    more = f" and {len(unknown) - _NAMED_UNKNOWN:,} more" if len(unknown) > _NAMED_UNKNOWN else ""
    raise NotFound(f"candidates: the release does not have {names}{more}; leave them out or give their text")
