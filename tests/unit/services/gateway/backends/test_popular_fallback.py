"""The fallback while retrieval does not answer."""

from __future__ import annotations

import asyncio

import pytest

from common.errors import NotReady
from common.filters import Match, Range
from services.gateway.backends.popular_fallback import PopularItems
from services.gateway.backends.stages import RetrievalResult, RetrieveRequest, StageUnavailable
from services.gateway.candidates import Candidate

_ITEMS = [Candidate(f"i{at}", 1.0 - at / 10, brand="acme" if at % 2 else "zenith", price=float(at)) for at in range(6)]


class _Retrieval:
    """Returns the items, or raises the given error; counts the calls."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0
        self.called = asyncio.Event()

    async def retrieve(self, request: RetrieveRequest, timeout_s: float) -> RetrievalResult:
        assert request.sources == ("popular",)
        assert timeout_s > 0
        self.calls += 1
        self.called.set()
        if self.error is not None:
            raise self.error
        return RetrievalResult(_ITEMS[: request.limit], "r1")


def _ids(result: RetrievalResult) -> list[str]:
    return [candidate.item_id for candidate in result.candidates]


async def _refreshed(count: int = 6) -> PopularItems:
    popular = PopularItems(_Retrieval(), count, 60.0)
    assert await popular.refresh()
    return popular


async def test_the_fallback_has_the_latest_items():
    """The items keep their order, up to the requested limit, with their release."""
    result = (await _refreshed()).fallback_for(RetrieveRequest(limit=3)).result
    assert _ids(result) == ["i0", "i1", "i2"]
    assert result.release_id == "r1"
    assert result.is_fallback


async def test_the_filter_and_exclusions_are_applied():
    """Items that fail the filter or are excluded are left out before the limit applies."""
    request = RetrieveRequest(limit=2, filter=Match("brand", ("acme",)), exclude=("i1",))
    assert _ids((await _refreshed()).fallback_for(request).result) == ["i3", "i5"]


async def test_undecided_items_are_left_out():
    """Items for which the filter cannot be decided are left out, and the note counts them."""
    fallback = (await _refreshed()).fallback_for(RetrieveRequest(filter=Range("weight", 1.0)))
    assert not fallback.result.candidates
    assert "without 6 for which the gateway cannot decide" in fallback.note


async def test_without_an_earlier_answer_there_is_no_fallback():
    """Before retrieval has answered once, there is no fallback."""
    with pytest.raises(NotReady, match="retrieval does not answer"):
        PopularItems(_Retrieval(), 5, 60.0).fallback_for(RetrieveRequest())


@pytest.mark.parametrize("error", [StageUnavailable("unreachable"), RuntimeError("refused")])
async def test_a_failed_refresh_keeps_the_earlier_items(error: Exception):
    """The earlier items stay if retrieval fails or refuses later."""
    retrieval = _Retrieval()
    popular = PopularItems(retrieval, 4, 60.0)
    await popular.refresh()
    retrieval.error = error
    assert not await popular.refresh()
    assert len(popular.fallback_for(RetrieveRequest()).result.candidates) == 4


async def test_a_requested_refresh_does_not_wait():
    """A requested refresh does not wait for the interval."""
    retrieval = _Retrieval()
    popular = PopularItems(retrieval, 4, 3_600.0)
    await popular.refresh()
    retrieval.called.clear()
    loop = asyncio.create_task(popular.refresh_periodically())
    popular.request_refresh()
    await asyncio.wait_for(retrieval.called.wait(), 5)
    loop.cancel()
    assert retrieval.calls == 2
