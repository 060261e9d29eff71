"""A request to the first stage, and the limits of requests and batches.

The form of a message is checked where it is read (`server/request_messages.py`); limits are checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from common.arrays import Float32Array
from common.errors import InvalidRequest
from common.filters import Filter
from common.release.event_weights import check_kinds
from common.text import MAX_QUERY_CHARACTERS, normalised
from services.retrieval.catalogue.item_validation import MAX_ID_BYTES, check_vector

MAX_LIMIT: Final = 1_000
DEFAULT_LIMIT: Final = 100
MAX_HISTORY: Final = 10_000
MAX_EXCLUDED: Final = 10_000
MAX_INCLUDED: Final = 100
MAX_CONDITIONS: Final = 100
MAX_REQUESTS: Final = 256
# Of all requests in a call; with all fields they take up to 16 MiB and half a second.
MAX_BATCH_CANDIDATES: Final = 65_536


@dataclass(frozen=True, eq=False)
class Request:
    """A user, and the candidates wanted.

    Attributes:
        query: Free text that the user searches for.
        vector: An embedding that replaces the query's; shape [dimension].
        history_item_ids: What the user bought or looked at, oldest first, with repeats.
        history_kinds: What each of these events was, by number, 0 for unknown; empty if all are unknown.
        filter: The condition that candidates must meet; None for no condition.
        exclude_item_ids: Items that must not be candidates.
        limit: How many candidates to find.
        sources: Names of the sources to use; empty for all.
        seed: The random seed of sources that sample; 0 takes a hash of query and history.
        distinct_texts: Whether items with the same text count as one.
        exclude_history: Whether items of the history must not be candidates.
        include_item_ids: Items that are candidates even if no source finds them.
        conditions: Conditions that are evaluated for each candidate.
        keep_query: Whether the query's spelling is left as it is.
        corrected_query: The query with its spelling repaired; empty if nothing was.
        with_vectors: Whether the candidates' vectors are wanted too.
        evidence: What the sources to use go by; empty for all.
        is_batch: Whether nobody waits for the answer.
    """

    query: str = ""
    vector: Float32Array | None = None
    history_item_ids: Sequence[str] = ()
    filter: Filter | None = None
    exclude_item_ids: Sequence[str] = ()
    limit: int = DEFAULT_LIMIT
    sources: Sequence[str] = ()
    seed: int = 0
    distinct_texts: bool = False
    exclude_history: bool = False
    history_kinds: Sequence[int] = ()
    keep_query: bool = False
    corrected_query: str = ""
    with_vectors: bool = False
    include_item_ids: Sequence[str] = ()
    conditions: Sequence[Filter] = ()
    evidence: frozenset[str] = frozenset()
    is_batch: bool = False

    @cached_property
    def text(self) -> str:
        """The query in the form that is embedded and searched for."""
        return self.corrected_query or normalised(self.query)

    @property
    def has_text(self) -> bool:
        """Whether the query's text has to be embedded."""
        return self.vector is None and bool(self.text)

    def corrected(self, query: str) -> Request:
        """Return the request with the query that is searched for, if it is another and not too long for a request."""
        is_kept = query == self.text or len(query) > MAX_QUERY_CHARACTERS
        return self if is_kept else replace(self, corrected_query=query)

    def embedded(self, vector: Float32Array) -> Request:
        """Return the request with its query's embedding as the vector."""
        return replace(self, vector=vector)


def check_request(request: Request, dimension: int, sources: Sequence[str]) -> None:
    """Raise InvalidRequest, naming the field, if a request breaks a limit.

    Args:
        request: The request; `ItemFilter.check` checks its filter.
        dimension: The dimension of the encoder.
        sources: The names of the release's sources.
    """
    if len(request.query) > MAX_QUERY_CHARACTERS:
        raise InvalidRequest(f"query: {len(request.query):,} characters; at most {MAX_QUERY_CHARACTERS:,}")
    if request.vector is not None:
        check_vector("vector", request.vector, dimension)
    _check_ids("history_item_ids", request.history_item_ids, MAX_HISTORY)
    check_kinds("history_kinds", request.history_kinds, len(request.history_item_ids))
    _check_ids("exclude_item_ids", request.exclude_item_ids, MAX_EXCLUDED)
    _check_ids("include_item_ids", request.include_item_ids, MAX_INCLUDED)
    if len(request.conditions) > MAX_CONDITIONS:
        raise InvalidRequest(f"conditions: {len(request.conditions)} given; at most {MAX_CONDITIONS}")
    if not 1 <= request.limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit: {request.limit} is not 1 to {MAX_LIMIT}; leave it unset for {DEFAULT_LIMIT}")
    for number, name in enumerate(request.sources):
        if name not in sources:
            raise InvalidRequest(f"sources[{number}]: no source {name[:100]!r}; there are {', '.join(sources)}")


def check_batch_size(count: int) -> None:
    """Raise InvalidRequest if a batch has no or too many requests."""
    if not 1 <= count <= MAX_REQUESTS:
        raise InvalidRequest(f"requests: {count} given; give 1 to {MAX_REQUESTS}")


def check_batch(requests: Sequence[Request], check: Callable[[Request], None]) -> None:
    """Raise InvalidRequest, naming position and field, if a request or the batch as a whole breaks a limit.

    Args:
        requests: The requests of a call.
        check: Checks one request.
    """
    for number, request in enumerate(requests):
        try:
            check(request)
        except InvalidRequest as error:
            raise InvalidRequest(f"requests[{number}].{error}") from error
    candidates = sum(request.limit for request in requests)
    if candidates > MAX_BATCH_CANDIDATES:
        raise InvalidRequest(
            f"requests: limits add up to {candidates:,}; at most {MAX_BATCH_CANDIDATES:,} candidates in one call"
        )


def _check_ids(name: str, item_ids: Sequence[str], limit: int) -> None:
    if len(item_ids) > limit:
        raise InvalidRequest(f"{name}: {len(item_ids):,} given; at most {limit:,}")
    if max(map(len, item_ids), default=0) * 4 <= MAX_ID_BYTES:  # as nearly always
        return
    for number, item_id in enumerate(item_ids):
        # A character has at most four bytes, so only long ids have to be encoded to be measured.
        if len(item_id) * 4 > MAX_ID_BYTES and len(item_id.encode()) > MAX_ID_BYTES:
            raise InvalidRequest(f"{name}[{number}]: longer than the {MAX_ID_BYTES} bytes of an item's id")
