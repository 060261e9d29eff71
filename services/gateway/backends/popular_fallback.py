"""The fallback while retrieval does not answer: the popular items of its last answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import structlog

from common.errors import NotReady
from common.filters import Filter
from common.process.endless_loop import repeat
from services.gateway.backends.filter_evaluation import passes
from services.gateway.backends.stages import RetrievalBackend, RetrievalResult, RetrieveRequest, StageFailed
from services.gateway.candidates import Candidate

POPULAR_SOURCE: Final = "popular"
_REFRESH_TIMEOUT_S: Final = 5.0
_RETRY_S: Final = 1.0
_log = structlog.get_logger()


@dataclass(frozen=True)
class PopularFallback:
    """Popular items that replace candidates, and a sentence on how they were chosen."""

    result: RetrievalResult
    note: str


class PopularItems:
    """The most popular items of the current release, as retrieval last reported them.

    Args:
        retrieval: The first stage.
        count: How many items to keep.
        interval_s: How often to refresh them.
    """

    def __init__(self, retrieval: RetrievalBackend, count: int, interval_s: float) -> None:
        self._retrieval = retrieval
        self._request = RetrieveRequest(limit=count, sources=(POPULAR_SOURCE,))
        self._interval_s = interval_s
        self._latest: RetrievalResult | None = None
        self._is_fresh = False
        self._refresh_requested = asyncio.Event()

    async def refresh(self) -> bool:
        """Retrieve the popular items; if that fails, keep the earlier ones and return False."""
        try:
            self._latest = await self._retrieval.retrieve(self._request, _REFRESH_TIMEOUT_S)
        except (StageFailed, RuntimeError) as failure:  # RuntimeError: the release has no such source
            _log.warning("popular items were not refreshed", reason=str(failure))
            return False
        return True

    def request_refresh(self) -> None:
        """Have `refresh_periodically` refresh the items now, because another release is served."""
        self._refresh_requested.set()

    async def refresh_periodically(self) -> None:
        """Refresh for ever: at each interval, on request, and each second while retrieval does not answer."""
        self._is_fresh = self._latest is not None
        await repeat("popular items", self._refresh_when_due, retry_s=_RETRY_S)

    async def _refresh_when_due(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._refresh_requested.wait(), self._interval_s if self._is_fresh else _RETRY_S)
        self._refresh_requested.clear()
        self._is_fresh = False
        self._is_fresh = await self.refresh()

    def fallback_for(self, request: RetrieveRequest) -> PopularFallback:
        """Choose from the latest popular items those that the request allows, most popular first.

        An item is left out if the gateway cannot decide whether it passes the filter.

        Raises:
            NotReady: Retrieval has not answered since the gateway started.
        """
        if self._latest is None:
            raise NotReady("retrieval does not answer and has not since the gateway started; try again later")
        excluded = {*request.exclude, *(request.history if request.exclude_history else ())}
        candidates = [item for item in self._latest.candidates if item.item_id not in excluded]
        decisions = [True if request.filter is None else passes(request.filter, item) for item in candidates]
        passing = [item for item, decision in zip(candidates, decisions, strict=True) if decision]
        decided = [_decide(item, request.conditions) for item in passing[: request.limit]]
        result = replace(self._latest, candidates=decided, ignored_history_items=0, is_fallback=True)
        return PopularFallback(result, _note(decisions.count(None)))


def _decide(item: Candidate, conditions: Sequence[Filter]) -> Candidate:
    """Return an item with the conditions that hold for it, and those that the gateway cannot decide."""
    if not conditions:
        return item
    decisions = [passes(condition, item) for condition in conditions]
    return item._replace(
        holds=frozenset(number for number, decision in enumerate(decisions) if decision),
        undecided=frozenset(number for number, decision in enumerate(decisions) if decision is None),
    )


def _note(undecided: int) -> str:
    note = "popular items from an earlier answer are used"
    if undecided:
        note += f", without {undecided} for which the gateway cannot decide whether they pass the filter"
    return note
