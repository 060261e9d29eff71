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
from services.gateway.profiles.profile_store import Document, ProfileStoreUnavailable
from services.gateway.related_items.plan import RELATED_TO_CART, SIMILAR_ITEMS
from services.gateway.related_items.related_items import RelatedItemFinder, RelatedItemsRequest
from services.gateway.rules.rule import ItemSelection, Rule, RuleKind
from services.gateway.rules.rule_book import RuleBook


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


class _Store:
    """Has the rules, or does not answer."""

    def __init__(self) -> None:
        self.rules: Sequence[Rule] = ()
        self.answers = True

    async def read_document(self, name: str, known_version: int = -1) -> Document | None:
        del name
        if not self.answers:
            raise ProfileStoreUnavailable("down")
        return None if known_version == 1 else Document(1, b"")

    async def write_document(self, name: str, content: bytes, expected_version: int) -> int | None:
        raise NotImplementedError


@pytest.fixture
def lists() -> _Lists:
    return _Lists()


@pytest.fixture
def store() -> _Store:
    return _Store()


@pytest.fixture
def finder(lists: _Lists, store: _Store) -> RelatedItemFinder:
    return RelatedItemFinder(lists, RuleBook(store, lambda _: b"", lambda _: store.rules))


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
    (item,) = (await finder.find(SIMILAR_ITEMS, RelatedItemsRequest(["given"], language="zh"), 1.0)).items
    assert [reason.text for reason in item.reasons] == ["与该商品相似", "选择该商品的用户接下来选择了它"]


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
    assert 0 < lists.timeout_s <= 1.75


async def test_rules_remove_items(lists: _Lists, store: _Store, finder: RelatedItemFinder):
    """Blocks and requirements do, and no item is placed or lifted; the lists are longer then."""
    lists.lists[Evidence.SIMILAR] = [
        Candidate("a", 1.0, (("similar", 0.9),), brand="x", text_hash=7),
        Candidate("b", 0.9, (("similar", 0.8),), text_hash=7),
        Candidate("c", 0.8, (("similar", 0.7),), text_hash=8),
    ]
    store.rules = [
        Rule("block", RuleKind.BLOCK, ItemSelection(brands=("X",))),
        Rule("pin", RuleKind.PIN, ItemSelection(("c",)), slot=1),
        Rule("low", RuleKind.THRESHOLD, min_probability=0.9),
    ]
    result = await finder.find(SIMILAR_ITEMS, RelatedItemsRequest(["given"], limit=300), 1.0)
    assert [item.candidate.item_id for item in result.items] == ["b", "c"]
    assert [(step.rule.rule_id, step.effect, step.item_id) for step in result.steps] == [("block", "REMOVED", "a")]
    assert result.rules_version == 1
    assert [request.limit for request in lists.requests] == [600, 600]
    await finder.find(SIMILAR_ITEMS, RelatedItemsRequest(["given"], limit=501), 1.0)
    assert [request.limit for request in lists.requests] == [1_000, 1_000]


async def test_rules_that_were_never_read_are_said(lists: _Lists, store: _Store, finder: RelatedItemFinder):
    """The answer is degraded until the store answers."""
    store.rules = [Rule("block", RuleKind.BLOCK, ItemSelection(("a",)))]
    lists.lists[Evidence.SIMILAR] = [Candidate("a", 1.0, (("similar", 0.9),))]
    store.answers = False
    result = await finder.find(SIMILAR_ITEMS, RelatedItemsRequest(["given"]), 1.0)
    assert [(each.kind, each.detail) for each in result.degradations] == [
        ("RULES_NOT_APPLIED", "the rules could not be read yet")
    ]
    store.answers = True
    result = await finder.find(SIMILAR_ITEMS, RelatedItemsRequest(["given"]), 1.0)
    assert not result.items
    assert not result.degradations


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
