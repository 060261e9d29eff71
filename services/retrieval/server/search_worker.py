"""Searches a first stage and serialises the responses, on a search thread.

Both happen in one turn of a thread, since serialising a response takes about as long as the search for it, and would
keep the event loop from reading other calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Literal, NamedTuple

from common.arrays import BoolMask
from common.errors import InvalidRequest
from common.filters import Filter
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.server.adaptive_ef_search import AdaptiveEfSearch
from services.retrieval.server.methods.included_items import include_items, which_hold
from services.retrieval.server.response_encoding import (
    candidate_fragments,
    encode_candidates,
    encode_columns,
    encode_conditions,
    encode_evidence,
    encode_response,
    encode_vectors,
    encode_with_source_columns,
    id_fragments,
)

# How a response gives what was found, as the contract describes it.
Form = Literal["candidates", "columns", "source columns"]


class SearchRequest(NamedTuple):
    """A request that waits for a search thread.

    Attributes:
        request: The request; its query is embedded.
        snapshot: The state of the catalogue to search.
        form: What the response holds.
        arrived_s: When the request arrived, by `time.perf_counter`.
        encode_s: How long the embedding took, in seconds.
    """

    request: Request
    snapshot: Snapshot
    form: Form
    arrived_s: float
    encode_s: float


class SearchWorker:
    """Searches requests and serialises their responses.

    Args:
        release_id: The id of the release.
        stage: The first stage of the release.
        ef_search: Observes how long each response took.
        observe: Called with the candidates of each batch.
        cache_size: How many items' serialised fragments are cached.
    """

    def __init__(
        self,
        release_id: str,
        stage: FirstStage,
        ef_search: AdaptiveEfSearch,
        observe: Callable[[Sequence[Candidates]], None],
        cache_size: int,
    ) -> None:
        self._release_id = release_id
        self._stage = stage
        self._ef_search = ef_search
        self._observe = observe
        self._candidate_fragments = candidate_fragments(cache_size, stage.long_tail)
        self._id_fragments = id_fragments(cache_size)
        self._evidence = encode_evidence({name: stage.settings.evidence_of(name) for name in stage.sources})

    def search_and_serialise(self, batch: Sequence[SearchRequest]) -> list[bytes]:
        """Return a serialised `RetrieveResponse` for each request; those of one snapshot are searched together."""
        results: list[Candidates] = []
        for snapshot, of_snapshot in groupby(batch, key=attrgetter("snapshot")):
            requests = [each.request for each in of_snapshot]
            found = zip(self._stage.search(requests, snapshot), requests, strict=True)
            results += [include_items(candidates, request, self._stage.item_filter) for candidates, request in found]
        self._observe(results)
        return [self._serialise(each, candidates) for each, candidates in zip(batch, results, strict=True)]

    def _serialise(self, request: SearchRequest, candidates: Candidates) -> bytes:
        total_s = time.perf_counter() - request.arrived_s
        self._ef_search.observe(total_s - request.encode_s)
        match request.form:
            case "columns":
                encoded = encode_columns(candidates, self._id_fragments)
            case "source columns":
                encoded = encode_with_source_columns(candidates, self._candidate_fragments)
            case "candidates":
                encoded = encode_candidates(candidates, self._candidate_fragments)
        if request.request.with_vectors:
            encoded += encode_vectors(self._stage.vectors_of(candidates))
        conditions = [self._condition(each, candidates) for each in request.request.conditions]
        encoded += encode_conditions(conditions)
        return encode_response(candidates, encoded, self._evidence, self._release_id, request.encode_s, total_s)

    def _condition(self, condition: Filter, candidates: Candidates) -> BoolMask | str:
        """Return for which candidates a condition holds, or why it cannot be evaluated."""
        try:
            return which_hold(condition, candidates, self._stage.item_filter)
        except InvalidRequest as error:
            return str(error)
