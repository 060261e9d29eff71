"""Why an item is recommended, derived from what the candidate sources go by and from their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from common.release.event_weights import EventKind
from services.gateway.backends.stages import UserInput
from services.gateway.candidates import Candidate, Evidence
from services.gateway.policy.long_tail import Substitution


class ReasonKind(StrEnum):
    """Kinds of reason; named as in the contract."""

    IN_HISTORY = "IN_HISTORY"
    BEHAVIOUR = "BEHAVIOUR"
    SIMILAR = "SIMILAR"
    SEMANTIC = "SEMANTIC"
    LEXICAL = "LEXICAL"
    POPULAR = "POPULAR"
    TRENDING = "TRENDING"
    EXPLORATION = "EXPLORATION"
    LONG_TAIL_SHARE = "LONG_TAIL_SHARE"
    NEW_ITEM_SHARE = "NEW_ITEM_SHARE"


@dataclass(frozen=True)
class Reason:
    """Why an item is recommended, with a sentence for users."""

    kind: ReasonKind
    text: str


_KIND_BY_EVIDENCE: Final = {
    Evidence.BEHAVIOUR: ReasonKind.BEHAVIOUR,
    Evidence.REPEAT: ReasonKind.IN_HISTORY,
    Evidence.SIMILAR: ReasonKind.SIMILAR,
    Evidence.SEMANTIC: ReasonKind.SEMANTIC,
    Evidence.LEXICAL: ReasonKind.LEXICAL,
    Evidence.POPULAR: ReasonKind.POPULAR,
    Evidence.TRENDING: ReasonKind.TRENDING,
    Evidence.EXPLORATION: ReasonKind.EXPLORATION,
}
_TEXTS: Final = {
    ReasonKind.BEHAVIOUR: "users with a similar history chose it next",
    ReasonKind.SIMILAR: "similar to an item in the history",
    ReasonKind.POPULAR: "many users buy it",
    ReasonKind.TRENDING: "sells well recently",
    ReasonKind.EXPLORATION: "new, or known to few users",
}


# What the user did with an item of the history, the strongest first; 0 is an event of unknown kind.
_IN_HISTORY: Final = {
    EventKind.PURCHASE: "bought",
    0: "bought or viewed",
    EventKind.RATING: "rated",
    EventKind.CART: "put into the cart",
    EventKind.FAVOURITE: "made a favourite",
    EventKind.VIEW: "viewed",
}


class Explainer:
    """Gives the reasons for the items of one answer.

    The scores of different sources are not comparable. So a source's strength for an item is its score divided by the
    largest score that it gave to any candidate of the answer. A source of which it is not known what it goes by gives
    no reason.

    Args:
        candidates: All candidates.
        user: The query and history of the user.
        evidence: What each source goes by, by source name.
        substitutions: Which items replaced which for a minimum share.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        user: UserInput,
        evidence: Mapping[str, Evidence],
        substitutions: Iterable[Substitution] = (),
    ) -> None:
        self._kinds = {name: _KIND_BY_EVIDENCE[each] for name, each in evidence.items()}
        self._replaced = {each.substitute.candidate.item_id: each for each in substitutions}
        self._max_scores: dict[str, float] = {}
        for name, score in (source for candidate in candidates for source in candidate.sources):
            self._max_scores[name] = max(score, self._max_scores.get(name, score))
        kinds = user.history_kinds or (0,) * len(user.history)
        self._history_counts = Counter(zip(user.history, kinds, strict=True))
        self._in_history = frozenset(user.history)
        self._query = user.query

    def reasons_for(self, candidate: Candidate) -> Sequence[Reason]:
        """Return the reasons for one item, each kind once.

        A substitution for a minimum share comes first, then that the item is in the history, then the strongest source.
        An item that no source found is there because it is popular: retrieval fills its answers with popular items.
        """
        strengths: dict[ReasonKind, float] = {}
        for name, score in candidate.sources:
            if (kind := self._kinds.get(name)) is not None:
                strengths[kind] = max(self._strength(name, score), strengths.get(kind, 0.0))
        strengths.pop(ReasonKind.IN_HISTORY, None)
        if not candidate.sources:
            strengths[ReasonKind.POPULAR] = 0.0
        kinds = sorted(strengths, key=lambda kind: -strengths[kind])
        if candidate.item_id in self._in_history:
            kinds.insert(0, ReasonKind.IN_HISTORY)
        if candidate.item_id in self._replaced:
            for_new_items = self._replaced[candidate.item_id].for_new_items
            kinds.insert(0, ReasonKind.NEW_ITEM_SHARE if for_new_items else ReasonKind.LONG_TAIL_SHARE)
        return [Reason(kind, self._text(kind, candidate.item_id)) for kind in kinds]

    def _strength(self, name: str, score: float) -> float:
        max_score = self._max_scores.get(name, 0.0)
        return score / max_score if max_score > 0 else 0.0

    def _replaced_title(self, item_id: str) -> str:
        replaced = self._replaced[item_id].replaced.candidate
        return replaced.title or replaced.item_id

    def _text(self, kind: ReasonKind, item_id: str) -> str:
        match kind:
            case ReasonKind.IN_HISTORY:
                counts = ((words, self._history_counts[item_id, kind]) for kind, words in _IN_HISTORY.items())
                return ", ".join(f"{words} {_times(count)}" for words, count in counts if count) + " before"
            case ReasonKind.SEMANTIC:
                return f"matches the query “{self._query}”" if self._query else "matches the user's interests"
            case ReasonKind.LEXICAL:
                return f"has words of the query “{self._query}”"
            case ReasonKind.LONG_TAIL_SHARE:
                return f"chosen to include less popular items; it replaces “{self._replaced_title(item_id)}”"
            case ReasonKind.NEW_ITEM_SHARE:
                return f"chosen to include new items; it replaces “{self._replaced_title(item_id)}”"
            case _:
                return _TEXTS[kind]


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
