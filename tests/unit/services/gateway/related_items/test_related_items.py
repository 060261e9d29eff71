"""Items near given items, over a first stage of planted lists."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from common.errors import DeadlineTooShort, NotReady, Overloaded
from services.gateway.backends.stages import (
    RetrievalResult,
    RetrieveRequest,
    StageFailed,
    StageOverloaded,
    StageTooSlow,
    StageUnavailable,
)
from services.gateway.candidates import Candidate, Evidence
from services.gateway.related_items.plan import RELATED_TO_CART, SIMILAR_ITEMS
from services.gateway.related_items.related_items import RelatedItemFinder, RelatedItemsRequest


class _Lists:
    """Answers each request with the list of its first evidence, or fails."""

    def __init__(self) -> None:
        self.lists: dict[Evidence, list[Candidate]] = {Evidence.BEHAVIOUR: [], Evidence.SIMILAR: []}
        self.error: StageFailed | None = None
        self.requests: Sequence[RetrieveRequest] = ()
        self.timeout_s = 0.0

    async def retrieve_each(self, requests: Sequence[RetrieveRequest], timeout_s: float) -> Sequence[RetrievalResult]:
        self.requests, self.timeout_s = requests, timeout_s
        if self.error is not None:
            raise self.error
        return [RetrievalResult(self.lists[request.evidence[0]], "r1", 1) for request in requests]


@pytest.fixture
def lists() -> _Lists:
    return _Lists()


@pytest.fixture
def finder(lists: _Lists) -> RelatedItemFinder:
    return RelatedItemFinder(lists)


async def test_what_no_source_found_is_left_out(lists: _Lists, finder: RelatedItemFinder):
    """Popular items that retrieval pads its lists with are near nothing."""
    lists.lists[Evidence.SIMILAR] = [Candidate("a", 1.0, (("similar", 0.9),)), Candidate("padding", -1.0)]
    result = await finder.find(SIMILAR_ITEMS, RelatedItemsRequest(["given"]), 1.0)
    assert [item.candidate.item_id for item in result.items] == ["a"]
    assert (result.release_id, result.ignored_items) == ("r1", 1)


async def test_sources_and_reasons_of_both_lists_are_joined(lists: _Lists, finder: RelatedItemFinder):
    """An item that both lists found has every source once, ordered by name, and a reason for each list."""
    lists.lists[Evidence.SIMILAR] = [Candidate("a", 1.0, (("semantic", 0.8), ("similar", 0.9)))]
    lists.lists[Evidence.BEHAVIOUR] = [Candidate("a", 1.0, (("follow", 3.0),))]
    (item,) = (await finder.find(SIMILAR_ITEMS, RelatedItemsRequest(["given"]), 1.0)).items
    assert list(item.candidate.sources) == [("follow", 3.0), ("semantic", 0.8), ("similar", 0.9)]
    assert [reason.kind for reason in item.reasons] == ["SIMILAR", "BEHAVIOUR"]
    assert item.score == pytest.approx(1.5 / 61)


async def test_two_items_of_one_text_have_one_place(lists: _Lists, finder: RelatedItemFinder):
    """Each list has a text once, but two lists may have two items of it; the better one stays."""
    lists.lists[Evidence.SIMILAR] = [Candidate("a", 1.0, (("similar", 0.9),), text_hash=7)]
    lists.lists[Evidence.BEHAVIOUR] = [
        Candidate("twin", 1.0, (("follow", 3.0),), text_hash=7),
        Candidate("b", 0.5, (("follow", 2.0),), text_hash=8),
    ]
    result = await finder.find(SIMILAR_ITEMS, RelatedItemsRequest(["given"]), 1.0)
    assert [item.candidate.item_id for item in result.items] == ["a", "b"]


async def test_requests_leave_out_what_is_given(lists: _Lists, finder: RelatedItemFinder):
    """Each list is asked for with the given items as history that is left out, within the time."""
    await finder.find(RELATED_TO_CART, RelatedItemsRequest(["x", "y"], exclude=["z"], limit=300), 1.75)
    for request, planned in zip(lists.requests, RELATED_TO_CART.lists, strict=True):
        assert request.evidence == planned.evidence
        assert (request.history, request.exclude, request.limit) == (["x", "y"], ["z"], 300)
        assert request.exclude_history
    assert lists.timeout_s == 1.75


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (StageOverloaded("full"), Overloaded),
        (StageTooSlow("late"), DeadlineTooShort),
        (StageUnavailable("down"), NotReady),
    ],
)
async def test_a_failed_stage_is_an_error(
    lists: _Lists, finder: RelatedItemFinder, failure: StageFailed, error: type[Exception]
):
    """Nothing replaces the first stage: popular items are near nothing."""
    lists.error = failure
    with pytest.raises(error, match=str(failure)):
        await finder.find(SIMILAR_ITEMS, RelatedItemsRequest(["given"]), 1.0)
