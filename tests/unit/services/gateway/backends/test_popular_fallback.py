"""What is recommended while retrieval is away."""

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
    """Tells of the items, or fails with what it is given; counts the calls."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0
        self.called = asyncio.Event()

    async def retrieve(self, wish: RetrieveRequest, timeout_s: float) -> RetrievalResult:
        assert wish.sources == ("popular",)
        assert timeout_s > 0
        self.calls += 1
        self.called.set()
        if self.error is not None:
            raise self.error
        return RetrievalResult(_ITEMS[: wish.limit], "r1")


def _ids(found: RetrievalResult) -> list[str]:
    return [candidate.item_id for candidate in found.candidates]


async def _seen(count: int = 6) -> PopularItems:
    popular = PopularItems(_Retrieval(), count, 60.0)
    assert await popular.refresh()
    return popular


async def test_items_come_as_last_seen():
    """The items come in their order, at most as many as wished, with the release that they are of."""
    found = (await _seen()).replaced_item_id(RetrieveRequest(limit=3)).found
    assert _ids(found) == ["i0", "i1", "i2"]
    assert found.release_id == "r1"
    assert found.remembered


async def test_what_is_known_of_the_filter_is_applied():
    """Items that fail the filter or are excluded are left out before the limit counts."""
    wish = RetrieveRequest(limit=2, filter=Match("brand", ("acme",)), exclude=("i1",))
    assert _ids((await _seen()).replaced_item_id(wish).found) == ["i3", "i5"]


async def test_items_that_may_break_the_filter_are_never_returned():
    """A condition that cannot be decided leaves the items out, and the note says how many."""
    remembered = (await _seen()).replaced_item_id(RetrieveRequest(filter=Range("weight", 1.0)))
    assert not remembered.found.candidates
    assert "without 6 of which the gateway cannot tell" in remembered.note


async def test_nothing_seen_is_not_ready():
    """Before retrieval has answered once there is nothing to give."""
    with pytest.raises(NotReady, match="retrieval does not answer"):
        PopularItems(_Retrieval(), 5, 60.0).replaced_item_id(RetrieveRequest())


@pytest.mark.parametrize("error", [StageUnavailable("away"), RuntimeError("refused")])
async def test_a_failed_refresh_keeps_what_was_seen(error: Exception):
    """Items seen earlier stay when retrieval fails or refuses later."""
    retrieval = _Retrieval()
    popular = PopularItems(retrieval, 4, 60.0)
    await popular.refresh()
    retrieval.error = error
    assert not await popular.refresh()
    assert len(popular.replaced_item_id(RetrieveRequest()).found.candidates) == 4


async def test_another_release_is_looked_at_at_once():
    """Asked to refresh soon, the loop does so without waiting for its interval."""
    retrieval = _Retrieval()
    popular = PopularItems(retrieval, 4, 3_600.0)
    await popular.refresh()
    retrieval.called.clear()
    loop = asyncio.create_task(popular.keep_fresh())
    popular.refresh_soon()
    await asyncio.wait_for(retrieval.called.wait(), 5)
    loop.cancel()
    assert retrieval.calls == 2
