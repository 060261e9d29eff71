"""A release as it is served: searched, and answered in bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.server.adaptive_ef_search import AdaptiveEfSearch
from services.retrieval.server.response_encoding import (
    candidate_fragments,
    id_fragments,
    write_candidates,
    write_columns,
)
from services.retrieval.server.response_messages import write_response


class SearchRequest(NamedTuple):
    """A request that waits to be searched.

    Attributes:
        request: What is asked, with its query's embedding in place.
        snapshot: The state of the catalogue that answers it.
        columns: Whether the answer is wanted in columns.
        began: When it arrived, by `time.perf_counter`.
        encode_s: How long its embedding took, in seconds.
    """

    request: Request
    snapshot: Snapshot
    columns: bool
    began: float
    encode_s: float


class SearchWorker:
    """Searches a first stage and writes the answers; in a thread, since writing takes long too.

    Args:
        release_id: The release that answers.
        stage: Its first stage.
        effort: Told how long answers took.
        observe: Told what was found.
        kept: How many items are kept as they are written.
    """

    def __init__(
        self,
        release_id: str,
        stage: FirstStage,
        effort: AdaptiveEfSearch,
        observe: Callable[[Sequence[Candidates]], None],
        kept: int,
    ) -> None:
        self._release_id = release_id
        self._stage = stage
        self._effort = effort
        self._observe = observe
        self._items, self._ids = candidate_fragments(kept, stage.long_tail), id_fragments(kept)

    def write(self, asked: Sequence[SearchRequest]) -> list[bytes]:
        """Answer requests, each as a serialised `RetrieveResponse`; those in one state of the catalogue together."""
        found: list[Candidates] = []
        for snapshot, together in groupby(asked, key=attrgetter("snapshot")):
            found += self._stage.search([each.request for each in together], snapshot)
        self._observe(found)
        return [self._write(each, candidates) for each, candidates in zip(asked, found, strict=True)]

    def _write(self, asked: SearchRequest, candidates: Candidates) -> bytes:
        total_s = time.perf_counter() - asked.began
        self._effort.observe(total_s - asked.encode_s)
        written = write_columns(candidates, self._ids) if asked.columns else write_candidates(candidates, self._items)
        return write_response(candidates, written, self._release_id, asked.encode_s, total_s)
