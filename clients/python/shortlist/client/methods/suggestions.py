"""Suggestions of a search box, as plain Python values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2


@dataclass(frozen=True)
class Suggestion:
    """One suggestion.

    Attributes:
        text: The text to show and to search for.
        kind: ``title``, ``category`` or ``query``; ``unknown`` if the server is newer than this client.
        item_id: The item of a title; empty otherwise.
        corrected_words: How many words of the typed text were corrected.
        popularity: 0 to 1; 1 is the most popular suggestion of its kind.
    """

    text: str
    kind: str
    item_id: str = ""
    corrected_words: int = 0
    popularity: float = 0.0


@dataclass(frozen=True)
class Suggestions:
    """The answer of ``complete``; iterating it yields its suggestions.

    Attributes:
        suggestions: Best first.
        release_id: The release that answered.
        request_id: The call's id, as in the servers' logs.
    """

    suggestions: tuple[Suggestion, ...]
    release_id: str
    request_id: str

    def __iter__(self) -> Iterator[Suggestion]:
        """Yield the suggestions, best first."""
        return iter(self.suggestions)

    def __len__(self) -> int:
        """Return the number of suggestions."""
        return len(self.suggestions)


def suggestions(message: gateway_pb2.CompleteResponse) -> Suggestions:
    """Return an answer of Complete."""
    names = dict(zip(retrieval_pb2.SuggestionKind.values(), retrieval_pb2.SuggestionKind.keys(), strict=True))
    return Suggestions(
        tuple(
            Suggestion(
                each.text,
                names.get(each.kind, "SUGGESTION_KIND_UNKNOWN").removeprefix("SUGGESTION_KIND_").lower(),
                each.item_id,
                each.corrected_words,
                each.popularity,
            )
            for each in message.suggestions
        ),
        message.release_id,
        message.request_id,
    )
