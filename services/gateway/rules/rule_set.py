"""All rules of one version, indexed: the time for a request depends on its candidates, not on the number of values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from common.filters import Filter
from common.text import folded, query_words, title_words
from services.gateway.candidates import Candidate
from services.gateway.rules.rule import Rule, RuleKind

_CACHED_TEXTS: Final = 50_000


class RuleSet:
    """The rules of one version.

    Args:
        version: The version.
        rules: The rules.

    Attributes:
        version: The version.
        rules: The rules by id.
    """

    def __init__(self, version: int = 0, rules: Iterable[Rule] = ()) -> None:
        self.version = version
        self.rules: Mapping[str, Rule] = {rule.rule_id: rule for rule in rules}
        self._by_item = _index((item, rule) for rule in self.rules.values() for item in rule.items.item_ids)
        self._by_brand = _index((_folded(text), rule) for rule in self.rules.values() for text in rule.items.brands)
        self._by_category = _index(
            (_folded(text), rule) for rule in self.rules.values() for text in rule.items.categories
        )
        phrases = [
            (frozenset(query_words(phrase)), rule.rule_id)
            for rule in self.rules.values()
            for phrase in rule.items.phrases
        ]
        self._by_word: dict[str, list[tuple[frozenset[str], str]]] = defaultdict(list)
        for words, rule_id in phrases:
            self._by_word[max(words, key=len)].append((words, rule_id))

    def active(self, country: str, placement: str, now_us: int) -> ActiveRules:
        """Return the rules that are applied to a request."""
        return ActiveRules(self, [rule for rule in self.rules.values() if rule.holds_for(country, placement, now_us)])

    def naming(self, candidate: Candidate) -> set[str]:
        """Return the ids of the rules that select a candidate by id, brand, category or words."""
        found = {
            *self._by_item.get(candidate.item_id, ()),
            *self._by_brand.get(_folded(candidate.brand), ()),
            *self._by_category.get(_folded(candidate.category), ()),
        }
        if self._by_word:
            text = _words_of(candidate.title, candidate.brand, candidate.category)
            for word in text:
                found.update(rule_id for words, rule_id in self._by_word.get(word, ()) if words <= text)
        return found


@dataclass(frozen=True)
class Selected:
    """Which rules select a candidate, and which may: retrieval did not say whether it passes their filters."""

    rule_ids: Collection[str]
    undecided: Collection[str]


class ActiveRules:
    """The rules that are applied to one request.

    Args:
        rule_set: All rules.
        rules: Those that are applied.

    Attributes:
        conditions: The filters of the rules, for retrieval to evaluate.
        included: The items that pins and campaigns name, for retrieval to find.
        min_probability: The highest threshold; 0 without one.
    """

    def __init__(self, rule_set: RuleSet, rules: Sequence[Rule]) -> None:
        self.version = rule_set.version
        self._rule_set = rule_set
        self._ids = frozenset(rule.rule_id for rule in rules)
        self._rules = rules
        filtered = [rule for rule in rules if rule.items.where is not None]
        self.conditions: Sequence[Filter] = list(
            dict.fromkeys(rule.items.where for rule in filtered if rule.items.where is not None)
        )
        place = {condition: number for number, condition in enumerate(self.conditions)}
        self._filtered = [(place[rule.items.where], rule.rule_id) for rule in filtered if rule.items.where is not None]
        slotted = [rule for rule in rules if rule.slot]
        self.included: Sequence[str] = list(dict.fromkeys(item for rule in slotted for item in rule.items.item_ids))
        self.min_probability = max((rule.min_probability for rule in rules), default=0.0)

    def __bool__(self) -> bool:
        return bool(self._rules)

    @property
    def rule_ids(self) -> Sequence[str]:
        """The ids of the rules, in their order."""
        return sorted(self._ids)

    def of_kind(self, *kinds: RuleKind) -> Sequence[Rule]:
        """Return the rules of some kinds, in the order of their ids."""
        return sorted((rule for rule in self._rules if rule.kind in kinds), key=lambda rule: rule.rule_id)

    def only(self, *kinds: RuleKind) -> ActiveRules:
        """Return the rules of some kinds."""
        return ActiveRules(self._rule_set, self.of_kind(*kinds))

    def select(self, candidate: Candidate) -> Selected:
        """Return which rules select a candidate."""
        named = self._rule_set.naming(candidate) & self._ids
        named.update(rule_id for place, rule_id in self._filtered if place in candidate.holds)
        undecided = [rule_id for place, rule_id in self._filtered if place in candidate.undecided]
        return Selected(named, undecided)

    def without(self, faults: Mapping[int, str]) -> tuple[ActiveRules, Sequence[str]]:
        """Return the same without the rules whose filters cannot be evaluated, and a sentence on each of those."""
        if not faults:
            return self, ()
        faulty = {rule_id: faults[place] for place, rule_id in self._filtered if place in faults}
        kept = ActiveRules(self._rule_set, [rule for rule in self._rules if rule.rule_id not in faulty])
        kept.conditions, kept._filtered = (
            self.conditions,
            [(place, rule_id) for place, rule_id in self._filtered if rule_id not in faulty],
        )
        return kept, [f"rule {rule_id!r} is not applied: {fault}" for rule_id, fault in faulty.items()]


def _index(pairs: Iterable[tuple[str, Rule]]) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for key, rule in pairs:
        found[key].append(rule.rule_id)
    return found


@lru_cache(_CACHED_TEXTS)
def _folded(text: str) -> str:
    return folded(text)


@lru_cache(_CACHED_TEXTS)
def _words_of(*texts: str) -> frozenset[str]:
    return frozenset(word for text in texts for word in title_words(text))
