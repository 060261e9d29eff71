"""What is recommended while retrieval is away: the popular items that it last told of."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from common.errors import NotReady
from services.gateway.backends.filter_evaluation import passes
from services.gateway.backends.stages import RetrievalBackend, RetrievalResult, RetrieveRequest, StageFailed

SOURCE: Final = "popular"


_REFRESH_TIMEOUT_S: Final = 5.0


_RETRY_S: Final = 1.0


_log = structlog.get_logger()


@dataclass(frozen=True)
class PopularFallback:
    """Popular items in place of candidates, and a sentence that says how they were chosen."""

    found: RetrievalResult
    note: str


class PopularItems:
    """The most popular items as retrieval last told of them, with their attributes.

    Args:
        retrieval: Whom to ask.
        count: How many items to keep.
        every_s: How often to ask.
    """

    def __init__(self, retrieval: RetrievalBackend, count: int, every_s: float) -> None:
        self._retrieval = retrieval
        self._wish = RetrieveRequest(limit=count, sources=(SOURCE,))
        self._every_s = every_s
        self._seen: RetrievalResult | None = None
        self._wanted = asyncio.Event()

    async def refresh(self) -> bool:
        """Ask retrieval for its popular items; keeps those of before and returns False where it does not answer."""
        try:
            self._seen = await self._retrieval.retrieve(self._wish, _REFRESH_TIMEOUT_S)
        except (StageFailed, RuntimeError) as failure:  # RuntimeError: the release has no such source
            _log.warning("popular items were not refreshed", reason=str(failure))
            return False
        return True

    def refresh_soon(self) -> None:
        """Have the items refreshed now, since another release is served."""
        self._wanted.set()

    async def keep_fresh(self) -> None:
        """Refresh for ever: at the interval set, when wanted, and each second while retrieval does not answer."""
        fresh = self._seen is not None
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self._every_s if fresh else _RETRY_S)
            self._wanted.clear()
            fresh = await self.refresh()

    def replaced_item_id(self, wish: RetrieveRequest) -> PopularFallback:
        """Choose from the remembered items what the wish allows, most popular first.

        An item that may break the filter (a condition on an attribute that is not known here) is left out.

        Raises:
            NotReady: Retrieval has not answered since the gateway started.
        """
        if self._seen is None:
            raise NotReady("retrieval does not answer and has not since the gateway started; try again later")
        excluded = set(wish.exclude)
        open_items = [item for item in self._seen.candidates if item.item_id not in excluded]
        decisions = [True if wish.filter is None else passes(wish.filter, item) for item in open_items]
        chosen = [item for item, decision in zip(open_items, decisions, strict=True) if decision]
        found = RetrievalResult(chosen[: wish.limit], self._seen.release_id, remembered=True)
        return PopularFallback(found, _note(decisions.count(None)))


def _note(undecided: int) -> str:
    note = "popular items as last seen"
    if undecided:
        note += f", without {undecided} of which the gateway cannot tell whether they pass the filter"
    return note
