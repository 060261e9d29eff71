"""Why an item is recommended, derived from the scores of the candidate sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from common.release.event_weights import EventKind
from services.gateway.backends.stages import UserInput
from services.gateway.candidates import Candidate
from services.gateway.policy.long_tail import Substitution


class ReasonKind(StrEnum):
    """Kinds of reason; named as in the contract."""

    IN_HISTORY = "IN_HISTORY"
    BEHAVIOUR = "BEHAVIOUR"
    SIMILAR = "SIMILAR"
    SEMANTIC = "SEMANTIC"
    POPULAR = "POPULAR"
    LONG_TAIL_SHARE = "LONG_TAIL_SHARE"


@dataclass(frozen=True)
class Reason:
    """Why an item is recommended, with a sentence for users."""

    kind: ReasonKind
    text: str


_KIND_BY_FIRST_WORD: Final = {
    "repeat": ReasonKind.IN_HISTORY,
    "similar": ReasonKind.SIMILAR,
    "semantic": ReasonKind.SEMANTIC,
    "popular": ReasonKind.POPULAR,
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


def reason_kind(source: str) -> ReasonKind:
    """Return the kind of reason that a candidate source stands for, by the first word of its name.

    A release names its sources freely, so the name is all that the gateway knows of a source. The first word is what
    comes before the first ``_``: ``similar`` and ``similar_brand`` are both SIMILAR. Any other word is BEHAVIOUR.
    """
    return _KIND_BY_FIRST_WORD.get(source.partition("_")[0], ReasonKind.BEHAVIOUR)


class Explainer:
    """Gives the reasons for the items of one answer.

    The scores of different sources are not comparable. So a source's strength for an item is its score divided by the
    largest score that it gave to any candidate of the answer.

    Args:
        candidates: All candidates.
        user: The query and history of the user.
        substitutions: Which long-tail items replaced which items.
    """

    def __init__(
        self, candidates: Iterable[Candidate], user: UserInput, substitutions: Iterable[Substitution] = ()
    ) -> None:
        self._replaced = {each.substitute.candidate.item_id: each.replaced.candidate for each in substitutions}
        self._max_scores: dict[str, float] = {}
        for name, score in (source for candidate in candidates for source in candidate.sources):
            self._max_scores[name] = max(score, self._max_scores.get(name, score))
        kinds = user.history_kinds or (0,) * len(user.history)
        self._history_counts = Counter(zip(user.history, kinds, strict=True))
        self._in_history = frozenset(user.history)
        self._query = user.query

    def reasons_for(self, candidate: Candidate) -> Sequence[Reason]:
        """Return the reasons for one item, each kind once.

        A substitution for the long tail comes first, then that the item is in the history, then the strongest source.
        """
        strengths: dict[ReasonKind, float] = {}
        for name, score in candidate.sources:
            kind = reason_kind(name)
            strengths[kind] = max(self._strength(name, score), strengths.get(kind, 0.0))
        strengths.pop(ReasonKind.IN_HISTORY, None)
        kinds = sorted(strengths, key=lambda kind: -strengths[kind])
        if candidate.item_id in self._in_history:
            kinds.insert(0, ReasonKind.IN_HISTORY)
        if candidate.item_id in self._replaced:
            kinds.insert(0, ReasonKind.LONG_TAIL_SHARE)
        return [Reason(kind, self._text(kind, candidate.item_id)) for kind in kinds]

    def _strength(self, name: str, score: float) -> float:
        max_score = self._max_scores.get(name, 0.0)
        return score / max_score if max_score > 0 else 0.0

    def _text(self, kind: ReasonKind, item_id: str) -> str:
        match kind:
            case ReasonKind.IN_HISTORY:
                counts = ((words, self._history_counts[item_id, kind]) for kind, words in _IN_HISTORY.items())
                return ", ".join(f"{words} {_times(count)}" for words, count in counts if count) + " before"
            case ReasonKind.BEHAVIOUR:
                return "users with a similar history chose it next"
            case ReasonKind.SIMILAR:
                return "similar to an item in the history"
            case ReasonKind.SEMANTIC:
                return f"matches the query “{self._query}”" if self._query else "matches the user's interests"
            case ReasonKind.POPULAR:
                return "many users buy it"
            case ReasonKind.LONG_TAIL_SHARE:
                replaced = self._replaced[item_id]
                return f"chosen to include less popular items; it replaces “{replaced.title or replaced.item_id}”"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
