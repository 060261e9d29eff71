"""What rules change in one answer: removals and lifts before the policy, slots after it. Each change is a step."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.gateway.candidates import RankedCandidate
from services.gateway.rules.rule import MAX_FACTOR, MIN_FACTOR, Rule, RuleKind
from services.gateway.rules.rule_set import ActiveRules, Selected

# Odds of a probability of 1 are infinite, and those of 0 are not moved by a factor.
_MIN_PROBABILITY: Final = 1e-9


# Items that slots take, by id, with the rule of each.
Slotted = Mapping[str, tuple[Rule, RankedCandidate]]


class Effect(StrEnum):
    """What a rule did to an item; named as in the contract."""

    REMOVED = "REMOVED"
    LIFTED = "LIFTED"
    BURIED = "BURIED"
    PLACED = "PLACED"
    DISPLACED = "DISPLACED"


@dataclass(frozen=True)
class PolicyStep:
    """One change by a rule.

    Attributes:
        rule: The rule.
        effect: What it did.
        item_id: To which item.
        position: The item's position afterwards, from 1, among candidates for a lift and in the answer for a slot; 0 if
            it has none.
    """

    rule: Rule
    effect: Effect
    item_id: str
    position: int = 0


@dataclass(frozen=True)
class RuledCandidates:
    """Candidates after removals and lifts.

    Attributes:
        items: Those that are left, best first.
        steps: What was changed.
        selected: Which rules select each of those left, by item id.
    """

    items: Sequence[RankedCandidate]
    steps: Sequence[PolicyStep]
    selected: dict[str, Selected]


def apply_rules(items: Sequence[RankedCandidate], rules: ActiveRules) -> RuledCandidates:
    """Remove what is blocked or lacks what is required, and order the others by their boosted odds.

    An item of which it is not known whether a block selects it is removed, and so is one of which it is not known
    whether it has what is required.
    """
    if not rules:
        return RuledCandidates(items, (), {})
    selected = {item.candidate.item_id: rules.select(item.candidate) for item in items}
    blocks, required = rules.of_kind(RuleKind.BLOCK), rules.of_kind(RuleKind.REQUIRE)
    kept: list[RankedCandidate] = []
    steps: list[PolicyStep] = []
    for item in items:
        remover = _remover(selected[item.candidate.item_id], blocks, required)
        if remover is None:
            kept.append(item)
        else:
            steps.append(PolicyStep(remover, Effect.REMOVED, item.candidate.item_id))
    lifted, lifts = _lift(kept, selected, rules.of_kind(RuleKind.BOOST))
    return RuledCandidates(lifted, [*steps, *lifts], selected)


def slotted_items(ruled: RuledCandidates, rules: ActiveRules, limit: int, blocked: frozenset[str]) -> Slotted:
    """Return the items of pins and campaigns by id, the first slot first.

    A campaign places the best item that it selects and that no earlier slot has. A slot beyond the limit has none.
    """
    ordered = sorted(rules.of_kind(RuleKind.PIN, RuleKind.CAMPAIGN), key=lambda rule: (rule.slot, rule.rule_id))
    placed: dict[str, tuple[Rule, RankedCandidate]] = {}
    for rule in ordered:
        item = _item_for(rule, ruled, blocked | placed.keys()) if rule.slot <= limit else None
        if item is not None:
            placed[item.candidate.item_id] = (rule, item)
    return placed


def place_slots(
    shown: Sequence[RankedCandidate], placed: Slotted, limit: int
) -> tuple[Sequence[RankedCandidate], Sequence[PolicyStep]]:
    """Put items in their slots; the answer stays within its limit. A slot beyond the end is the end."""
    shown_ids = {item.candidate.item_id for item in shown}
    others = [item for item in shown if item.candidate.item_id not in placed]
    answer, displaced = others[: limit - len(placed)], others[limit - len(placed) :]
    adding = [rule for item_id, (rule, _) in placed.items() if item_id not in shown_ids]
    steps = [
        PolicyStep(rule, Effect.DISPLACED, i.candidate.item_id) for rule, i in zip(adding, displaced, strict=False)
    ]
    for item_id, (rule, item) in placed.items():
        position = min(rule.slot, len(answer) + 1)
        answer.insert(position - 1, item)
        steps.append(PolicyStep(rule, Effect.PLACED, item_id, position))
    return answer, steps


def selected_items(ruled: RuledCandidates, rules: Sequence[Rule]) -> set[str]:
    """Return the ids of the candidates that are left which one of the rules selects."""
    wanted = {rule.rule_id for rule in rules}
    return {item_id for item_id, selected in ruled.selected.items() if wanted.intersection(selected.rule_ids)}


def _remover(selected: Selected, blocks: Sequence[Rule], required: Sequence[Rule]) -> Rule | None:
    """Return the first rule that removes an item."""
    for rule in blocks:
        if rule.rule_id in selected.rule_ids or rule.rule_id in selected.undecided:
            return rule
    return next((rule for rule in required if rule.rule_id not in selected.rule_ids), None)


def _lift(
    items: list[RankedCandidate], selected: dict[str, Selected], boosts: Sequence[Rule]
) -> tuple[Sequence[RankedCandidate], Sequence[PolicyStep]]:
    """Order items by their odds times the factors of the boosts that select them, which are bounded as one is."""
    if not boosts:
        return items, ()
    scores: dict[str, float] = {}
    lifting: list[tuple[Rule, str]] = []
    for item in items:
        item_id = item.candidate.item_id
        own = [rule for rule in boosts if rule.rule_id in selected[item_id].rule_ids]
        factor = min(max(math.prod(rule.factor for rule in own), MIN_FACTOR), MAX_FACTOR)
        scores[item_id] = _score(item) + math.log(factor)
        lifting += [(rule, item_id) for rule in own]
    ordered = sorted(items, key=lambda item: -scores[item.candidate.item_id])
    position = {item.candidate.item_id: place for place, item in enumerate(ordered, start=1)}
    effects = {True: Effect.LIFTED, False: Effect.BURIED}
    return ordered, [
        PolicyStep(rule, effects[rule.factor > 1], item_id, position[item_id]) for rule, item_id in lifting
    ]


def _score(item: RankedCandidate) -> float:
    """Return the log of the odds; without a probability, of the first stage's score."""
    if item.probability is None:
        return math.log(max(item.candidate.score, _MIN_PROBABILITY))
    probability = min(max(item.probability, _MIN_PROBABILITY), 1.0 - _MIN_PROBABILITY)
    return math.log(probability / (1.0 - probability))


def _item_for(rule: Rule, ruled: RuledCandidates, taken: Collection[str]) -> RankedCandidate | None:
    for item in ruled.items:
        item_id = item.candidate.item_id
        if item_id not in taken and rule.rule_id in ruled.selected[item_id].rule_ids:
            return item
    return None
