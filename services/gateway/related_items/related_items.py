"""Finds items near given items, with the first stage alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from common.filters import Filter
from services.gateway.backends.stage_errors import error_of
from services.gateway.backends.stages import RetrievalResult, RetrieveRequest, StageFailed
from services.gateway.candidates import Candidate
from services.gateway.recommendation.reasons import Reason
from services.gateway.related_items.plan import Plan
from services.gateway.related_items.rank_fusion import fused_order

# Each list is retrieved to this depth at least, so that what both lists found can be told.
_MIN_DEPTH: Final = 100


class ListRetrieval(Protocol):
    """The first stage, asked for several lists at once."""

    async def retrieve_each(self, requests: Sequence[RetrieveRequest], timeout_s: float) -> Sequence[RetrievalResult]:
        """Answer several requests within ``timeout_s``, in their order.

        Raises:
            InvalidRequest: The caller's filter names an attribute that the catalogue lacks.
            StageFailed: The stage did not answer.
        """
        ...


@dataclass(frozen=True)
class RelatedItemsRequest:
    """The given items, and which items near them are wanted."""

    item_ids: Sequence[str]
    filter: Filter | None = None
    exclude: Sequence[str] = ()
    limit: int = 10


@dataclass(frozen=True)
class RelatedItem:
    """An item of the answer.

    Attributes:
        candidate: The item with the score of each source that found it.
        score: Its fused score.
        reasons: Why it is in the answer, most important first.
    """

    candidate: Candidate
    score: float
    reasons: Sequence[Reason]


@dataclass(frozen=True)
class RelatedItemsResult:
    """The items, best first; the release that they came from; and how many given items it does not know."""

    items: Sequence[RelatedItem]
    release_id: str
    ignored_items: int


class RelatedItemFinder:
    """Finds items near given items.

    Args:
        retrieval: The first stage.
    """

    def __init__(self, retrieval: ListRetrieval) -> None:
        self._retrieval = retrieval

    async def find(self, plan: Plan, request: RelatedItemsRequest, timeout_s: float) -> RelatedItemsResult:
        """Find items by a plan within ``timeout_s``; neither the given items nor items with their texts.

        Raises:
            InvalidRequest: The filter names an attribute that the catalogue lacks.
            NotReady: Retrieval does not answer.
            Overloaded: Retrieval has no room.
            DeadlineTooShort: Retrieval was too slow.
        """
        requests = [
            RetrieveRequest(
                history=request.item_ids,
                filter=request.filter,
                exclude=request.exclude,
                limit=max(_MIN_DEPTH, request.limit),
                exclude_history=True,
                evidence=each.evidence,
            )
            for each in plan.lists
        ]
        try:
            results = await self._retrieval.retrieve_each(requests, timeout_s)
        except StageFailed as failure:
            raise error_of(failure) from failure
        return _fused(plan, results, request.limit)


def _fused(plan: Plan, results: Sequence[RetrievalResult], limit: int) -> RelatedItemsResult:
    # Retrieval fills its lists with popular items, which no source found: they are near nothing.
    found = [{each.item_id: each for each in result.candidates if each.sources} for result in results]
    order = fused_order([list(items) for items in found], [each.weight for each in plan.lists])
    items: list[RelatedItem] = []
    texts: set[int] = set()  # a list has each text once, two lists may have two items of one text
    for item_id, score in order:
        candidate = _joined(found, item_id)
        if candidate.text_hash and candidate.text_hash in texts:
            continue
        texts.add(candidate.text_hash)
        items.append(RelatedItem(candidate, score, _reasons(plan, found, item_id)))
        if len(items) == limit:
            break
    return RelatedItemsResult(items, results[0].release_id, results[0].ignored_history_items)


def _joined(found: Sequence[dict[str, Candidate]], item_id: str) -> Candidate:
    """Return the candidate with its sources of all lists."""
    each = [items[item_id] for items in found if item_id in items]
    return each[0]._replace(sources=sorted({source for candidate in each for source in candidate.sources}))


def _reasons(plan: Plan, found: Sequence[dict[str, Candidate]], item_id: str) -> Sequence[Reason]:
    return [Reason(each.reason, each.text) for each, items in zip(plan.lists, found, strict=True) if item_id in items]
