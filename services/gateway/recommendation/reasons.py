"""Why an item is recommended, read from what the sources said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.gateway.candidates import Candidate
from services.gateway.policy.long_tail import Substitution
from services.gateway.recommendation.request import UserInput


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


# By the first word of a source's name; every other source is one of behaviour, whose names a release chooses freely.
_KINDS = {
    "repeat": ReasonKind.IN_HISTORY,
    "similar": ReasonKind.SIMILAR,
    "semantic": ReasonKind.SEMANTIC,
    "popular": ReasonKind.POPULAR,
}


class Reasons:
    """Gives the reasons for the items of one answer.

    A source's scores compare only with its own, so its strength for an item is its score as a share of the best that
    it gave to any candidate of the answer.

    Args:
        candidates: All that the first stage found.
        user: What the stages were told of the user.
        swaps: Which items came in for the tail's share.
    """

    def __init__(self, candidates: Iterable[Candidate], user: UserInput, swaps: Iterable[Substitution] = ()) -> None:
        self._gave_way = {swap.came_in.candidate.item_id: swap.gave_way.candidate for swap in swaps}
        self._best: dict[str, float] = {}
        for name, score in (said for candidate in candidates for said in candidate.sources):
            self._best[name] = max(score, self._best.get(name, score))
        self._times = Counter(user.history)
        self._query = user.query

    def of(self, candidate: Candidate) -> Sequence[Reason]:
        """Return the reasons for one item, each kind once.

        That it came in for the tail comes first, then being in the history, then the strongest first.
        """
        strengths: dict[ReasonKind, float] = {}
        for name, score in candidate.sources:
            kind = _KINDS.get(name.partition("_")[0], ReasonKind.BEHAVIOUR)
            strengths[kind] = max(self._strength(name, score), strengths.get(kind, 0.0))
        strengths.pop(ReasonKind.IN_HISTORY, None)
        kinds = sorted(strengths, key=lambda kind: -strengths[kind])
        if self._times[candidate.item_id]:
            kinds.insert(0, ReasonKind.IN_HISTORY)
        if candidate.item_id in self._gave_way:
            kinds.insert(0, ReasonKind.LONG_TAIL_SHARE)
        return [Reason(kind, self._sentence(kind, candidate.item_id)) for kind in kinds]

    def _strength(self, name: str, score: float) -> float:
        best = self._best.get(name, 0.0)
        return score / best if best > 0 else 0.0

    def _sentence(self, kind: ReasonKind, item_id: str) -> str:
        match kind:
            case ReasonKind.IN_HISTORY:
                return f"bought or looked at {_times(self._times[item_id])} before"
            case ReasonKind.BEHAVIOUR:
                return "users with such a history go on to it"
            case ReasonKind.SIMILAR:
                return "its text is like an item of the history"
            case ReasonKind.SEMANTIC:
                return f"its text fits the query “{self._query}”" if self._query else "its text fits the interests"
            case ReasonKind.POPULAR:
                return "many users buy it"
            case ReasonKind.LONG_TAIL_SHARE:
                gave_way = self._gave_way[item_id]
                return f"it keeps a place for what sells less; “{gave_way.title or gave_way.item_id}” gave way"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
