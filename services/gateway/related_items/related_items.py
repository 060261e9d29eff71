"""Finds items near given items, with the first stage alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from common.filters import Filter
from services.gateway.backends.stage_errors import error_of
from services.gateway.backends.stages import RetrievalResult, RetrieveRequest, StageFailed
from services.gateway.candidates import Candidate, RankedCandidate
from services.gateway.recommendation.reason_texts import texts_of
from services.gateway.recommendation.reasons import Reason
from services.gateway.recommendation.result import Degradation, DegradationKind
from services.gateway.related_items.plan import Plan, RankedList
from services.gateway.related_items.rank_fusion import fused_order
from services.gateway.rules.application import PolicyStep, apply_rules
from services.gateway.rules.rule import RuleKind
from services.gateway.rules.rule_book import RULES_NOT_READ, RuleBook
from services.gateway.rules.rule_set import ActiveRules

# Each list is retrieved to this depth at least, so that what both lists found can be told.
_MIN_DEPTH: Final = 100
# With rules, each list is retrieved to this multiple of the limit, since rules remove items.
_DEPTH_PER_ITEM_WITH_RULES: Final = 2
_MAX_DEPTH: Final = 1_000  # of retrieval's contract
# The share of the time that reading the rules may take, if the store did not answer when the gateway started.
_RULES_SHARE: Final = 0.1


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
    """The given items, and which items near them are wanted; ``country`` and ``placement`` are for rules.

    ``language`` is that of the reasons.
    """

    item_ids: Sequence[str]
    filter: Filter | None = None
    exclude: Sequence[str] = ()
    limit: int = 10
    country: str = ""
    placement: str = ""
    language: str = ""


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
    """The items found.

    Attributes:
        items: Best first.
        release_id: The release that they came from.
        ignored_items: How many of the given items it does not know.
        rules_version: The version of the rules that were applied.
        steps: What rules removed.
        degradations: Which rules were not applied, and why.
    """

    items: Sequence[RelatedItem]
    release_id: str
    ignored_items: int
    rules_version: int = 0
    steps: Sequence[PolicyStep] = ()
    degradations: Sequence[Degradation] = ()


class RelatedItemFinder:
    """Finds items near given items. Of the shop's rules, blocks and requirements hold; no item is lifted or placed.

    Args:
        retrieval: The first stage.
        rules: The shop's rules.
    """

    def __init__(self, retrieval: ListRetrieval, rules: RuleBook) -> None:
        self._retrieval = retrieval
        self._rules = rules

    async def find(self, plan: Plan, request: RelatedItemsRequest, timeout_s: float) -> RelatedItemsResult:
        """Find items by a plan within ``timeout_s``; neither the given items nor items with their texts.

        Raises:
            InvalidRequest: The filter names an attribute that the catalogue lacks.
            NotReady: Retrieval does not answer.
            Overloaded: Retrieval has no room.
            DeadlineTooShort: Retrieval was too slow.
        """
        ends_at_s = time.monotonic() + timeout_s
        degradations = []
        if not await self._rules.read_once(timeout_s * _RULES_SHARE):
            degradations.append(Degradation(DegradationKind.RULES_NOT_APPLIED, RULES_NOT_READ))
        active = self._rules.current.active(request.country, request.placement, time.time_ns() // 1_000)
        rules = active.only(RuleKind.BLOCK, RuleKind.REQUIRE)
        requests = [_retrieve_request(request, each, rules) for each in plan.lists]
        try:
            results = await self._retrieval.retrieve_each(requests, ends_at_s - time.monotonic())
        except StageFailed as failure:
            raise error_of(failure) from failure
        faults = {number: fault for result in results for number, fault in result.condition_faults.items()}
        rules, sentences = rules.without(faults)
        degradations += [Degradation(DegradationKind.RULES_NOT_APPLIED, sentence) for sentence in sentences]
        found = _Found(plan, results, request.language)
        items, steps = found.best(rules, request.limit)
        release_id, ignored = results[0].release_id, results[0].ignored_history_items
        return RelatedItemsResult(items, release_id, ignored, rules.version, steps, degradations)


def _retrieve_request(request: RelatedItemsRequest, wanted: RankedList, rules: ActiveRules) -> RetrieveRequest:
    depth = min(_MAX_DEPTH, request.limit * _DEPTH_PER_ITEM_WITH_RULES) if rules else request.limit
    return RetrieveRequest(
        history=request.item_ids,
        filter=request.filter,
        exclude=request.exclude,
        limit=max(_MIN_DEPTH, depth),
        exclude_history=True,
        evidence=wanted.evidence,
        conditions=rules.conditions,
    )


class _Found:
    """What the lists of a plan found."""

    def __init__(self, plan: Plan, results: Sequence[RetrievalResult], language: str) -> None:
        self._plan = plan
        self._texts = texts_of(language)
        # Retrieval fills its lists with popular items, which no source found: they are near nothing.
        self._lists = [{each.item_id: each for each in result.candidates if each.sources} for result in results]

    def best(self, rules: ActiveRules, limit: int) -> tuple[Sequence[RelatedItem], Sequence[PolicyStep]]:
        """Return the best items that the rules allow, each text once, and what the rules removed."""
        order = fused_order([list(items) for items in self._lists], [each.weight for each in self._plan.lists])
        scores = dict(order)
        joined = [RankedCandidate(self._joined(item_id), rank) for rank, item_id in enumerate(scores, start=1)]
        ruled = apply_rules(joined, rules)
        items: list[RelatedItem] = []
        texts: set[int] = set()  # a list has each text once, two lists may have two items of one text
        for candidate in (item.candidate for item in ruled.items):
            if candidate.text_hash and candidate.text_hash in texts:
                continue
            texts.add(candidate.text_hash)
            items.append(RelatedItem(candidate, scores[candidate.item_id], self._reasons(candidate.item_id)))
            if len(items) == limit:
                break
        return items, ruled.steps

    def _joined(self, item_id: str) -> Candidate:
        """Return the candidate with its sources of all lists."""
        each = [items[item_id] for items in self._lists if item_id in items]
        return each[0]._replace(sources=sorted({source for candidate in each for source in candidate.sources}))

    def _reasons(self, item_id: str) -> Sequence[Reason]:
        lists = zip(self._plan.lists, self._lists, strict=True)
        return [
            Reason(each.reason, self._texts.near[self._plan.name, each.reason])
            for each, items in lists
            if item_id in items
        ]
