"""The methods of RuleService."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from shortlist.gateway.v1 import rules_pb2, rules_pb2_grpc

from common.errors import InvalidRequest, NotReady
from services.gateway.backends.stages import RetrievalBackend, RetrieveRequest, StageFailed
from services.gateway.recommendation.recommender import Recommender
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.rules.application import PolicyStep
from services.gateway.rules.rule import Rule
from services.gateway.rules.rule_book import RuleBook, with_rules
from services.gateway.rules.rule_set import RuleSet
from services.gateway.server.methods.recent_requests import MAX_REQUESTS, RecentRequests
from services.gateway.server.methods.rule_messages import read_rules, write_rule
from services.gateway.server.request_messages import read_recommend_request
from services.gateway.server.response_messages import MAX_STEPS, write_step

RULE_SERVICE: Final = rules_pb2.DESCRIPTOR.services_by_name["RuleService"].full_name
_CHECK_TIMEOUT_S: Final = 5.0


class RuleComponents(Protocol):
    """What the methods call."""

    @property
    def rules(self) -> RuleBook:
        """The rules."""
        ...

    @property
    def recommender(self) -> Recommender:
        """Answers requests to try rules on."""
        ...

    @property
    def retrieval(self) -> RetrievalBackend:
        """Knows which attributes the catalogue has."""
        ...

    @property
    def recent(self) -> RecentRequests:
        """The latest requests."""
        ...


@dataclass(frozen=True)
class _Tried:
    """A request with the rules as they are, and as they would be."""

    before: Sequence[str]
    after: Sequence[str]
    steps: Sequence[PolicyStep]


class RuleService(rules_pb2_grpc.RuleServiceServicer):
    """The contract's RuleService.

    Args:
        components: Returns the components; raises NotReady before the gateway has started.
    """

    def __init__(self, components: Any) -> None:
        self._components: Any = components

    async def ListRules(  # noqa: N802 - the contract's name
        self, request: rules_pb2.ListRulesRequest, context: Any
    ) -> rules_pb2.ListRulesResponse:
        """Return all rules, read from the store now."""
        del request, context
        rules = self._book()
        if not await rules.refresh():
            raise NotReady("the rules cannot be read; see the gateway's log")
        ordered = sorted(rules.current.rules.values(), key=lambda rule: rule.rule_id)
        return rules_pb2.ListRulesResponse(rules=map(write_rule, ordered), version=rules.current.version)

    async def PutRules(  # noqa: N802
        self, request: rules_pb2.PutRulesRequest, context: Any
    ) -> rules_pb2.PutRulesResponse:
        """Add or replace rules."""
        del context
        rules = read_rules(request.rules)
        await check_conditions(self._components().retrieval, rules)
        if_version = request.if_version if request.HasField("if_version") else None
        return rules_pb2.PutRulesResponse(version=(await self._book().put(rules, if_version)).version)

    async def DeleteRules(  # noqa: N802
        self, request: rules_pb2.DeleteRulesRequest, context: Any
    ) -> rules_pb2.DeleteRulesResponse:
        """Delete rules."""
        del context
        if not request.rule_ids:
            raise InvalidRequest("rule_ids: none given")
        book = self._book()
        if_version = request.if_version if request.HasField("if_version") else None
        await book.refresh()
        before = len(book.current.rules.keys() & set(request.rule_ids))
        changed = await book.delete(set(request.rule_ids), if_version)
        return rules_pb2.DeleteRulesResponse(version=changed.version, deleted=before)

    async def TryRules(  # noqa: N802
        self, request: rules_pb2.TryRulesRequest, context: Any
    ) -> rules_pb2.TryRulesResponse:
        """Answer requests with the rules as they are and as they would be."""
        del context
        components: RuleComponents = self._components()
        if len(request.requests) > MAX_REQUESTS:
            raise InvalidRequest(f"requests: {len(request.requests)} given; at most {MAX_REQUESTS}")
        rules = read_rules(request.rules)
        await check_conditions(components.retrieval, rules)
        now = components.rules.current
        changed = with_rules(now, rules, set(request.delete_rule_ids))
        requests = [read_recommend_request(each) for each in request.requests] or components.recent.latest()
        tried = [await _try(components.recommender, each, now, changed) for each in requests]
        counts = Counter((step.rule.rule_id, step.effect) for each in tried for step in each.steps)
        return rules_pb2.TryRulesResponse(
            requests=[
                rules_pb2.TriedRequest(
                    item_ids_before=each.before,
                    item_ids_after=each.after,
                    steps=map(write_step, each.steps[:MAX_STEPS]),
                )
                for each in tried
            ],
            changed_requests=sum(each.before != each.after for each in tried),
            effects=[
                rules_pb2.RuleEffectCount(rule_id=rule_id, effect=f"POLICY_EFFECT_{effect}", count=count)  # type: ignore[arg-type]  # protobuf takes names
                for (rule_id, effect), count in sorted(counts.items())
            ],
        )

    def _book(self) -> RuleBook:
        book: RuleBook = self._components().rules
        return book


async def check_conditions(retrieval: RetrievalBackend, rules: Sequence[Rule]) -> None:
    """Check the rules' filters against the catalogue.

    Raises:
        InvalidRequest: One names an attribute that the catalogue does not have, or a range of one without numbers.
        NotReady: Retrieval does not answer.
    """
    filtered = [(rule.rule_id, rule.items.where) for rule in rules if rule.items.where is not None]
    if not filtered:
        return
    try:
        request = RetrieveRequest(limit=1, conditions=[where for _, where in filtered])
        faults = (await retrieval.retrieve(request, _CHECK_TIMEOUT_S)).condition_faults
    except StageFailed as failure:
        raise NotReady(f"the rules' filters cannot be checked: {failure}") from failure
    for place, fault in faults.items():
        raise InvalidRequest(f"rule {filtered[place][0]!r}: items.where: {fault}")


async def _try(recommender: Recommender, request: RecommendRequest, now: RuleSet, changed: RuleSet) -> _Tried:
    before, after = await recommender.recommend(request, rules=now), await recommender.recommend(request, rules=changed)
    return _Tried(
        [item.candidate.item_id for item in before.items],
        [item.candidate.item_id for item in after.items],
        after.steps,
    )
