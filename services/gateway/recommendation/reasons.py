"""Why an item is recommended, derived from what the candidate sources go by and from their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.gateway.backends.stages import UserInput
from services.gateway.candidates import Candidate, Evidence
from services.gateway.policy.long_tail import Substitution
from services.gateway.recommendation.reason_texts import ENGLISH, ReasonTexts


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
    PLACED = "PLACED"


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
        placed: The items that rules placed.
        named: The items that are candidates because rules name them.
        texts: The sentences.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        user: UserInput,
        evidence: Mapping[str, Evidence],
        substitutions: Iterable[Substitution] = (),
        placed: Iterable[str] = (),
        named: Iterable[str] = (),
        texts: ReasonTexts = ENGLISH,
    ) -> None:
        self._texts = texts
        self._placed = frozenset(placed)
        self._named = frozenset(named)
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

        First that a rule placed it, then a substitution for a minimum share, then that the item is in the history, then
        the strongest source. An item that no source found is there because rules name it, or else because it is
        popular: retrieval fills its answers with popular items.
        """
        strengths: dict[ReasonKind, float] = {}
        for name, score in candidate.sources:
            if (kind := self._kinds.get(name)) is not None:
                strengths[kind] = max(self._strength(name, score), strengths.get(kind, 0.0))
        strengths.pop(ReasonKind.IN_HISTORY, None)
        if not candidate.sources:
            is_named = candidate.item_id in self._named
            strengths[ReasonKind.PLACED if is_named else ReasonKind.POPULAR] = 0.0
        if candidate.item_id in self._placed:
            strengths.pop(ReasonKind.PLACED, None)
        kinds = sorted(strengths, key=lambda kind: -strengths[kind])
        if candidate.item_id in self._in_history:
            kinds.insert(0, ReasonKind.IN_HISTORY)
        if candidate.item_id in self._replaced:
            for_new_items = self._replaced[candidate.item_id].for_new_items
            kinds.insert(0, ReasonKind.NEW_ITEM_SHARE if for_new_items else ReasonKind.LONG_TAIL_SHARE)
        if candidate.item_id in self._placed:
            kinds.insert(0, ReasonKind.PLACED)
        return [Reason(kind, self._text(kind, candidate.item_id)) for kind in kinds]

    def _strength(self, name: str, score: float) -> float:
        max_score = self._max_scores.get(name, 0.0)
        return score / max_score if max_score > 0 else 0.0

    def _replaced_title(self, item_id: str) -> str:
        replaced = self._replaced[item_id].replaced.candidate
        return replaced.title or replaced.item_id

    def _text(self, kind: ReasonKind, item_id: str) -> str:
        texts = self._texts
        match kind:
            case ReasonKind.IN_HISTORY:
                return texts.done_before({kind: self._history_counts[item_id, kind] for kind in texts.done})
            case ReasonKind.SEMANTIC:
                return texts.query.format(query=self._query) if self._query else texts.interests
            case ReasonKind.LEXICAL:
                return texts.words.format(query=self._query)
            case ReasonKind.LONG_TAIL_SHARE:
                return texts.less_popular.format(title=self._replaced_title(item_id))
            case ReasonKind.NEW_ITEM_SHARE:
                return texts.new_item.format(title=self._replaced_title(item_id))
            case _:
                return texts.fixed[kind]
