"""Completes texts with what can be bought now."""

from __future__ import annotations

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.search.filter_evaluation import for_sale
from services.retrieval.suggestions.live_suggestions import LiveSuggestions, Suggestion
from services.retrieval.suggestions.typed_text import TypedText


def complete(stage: FirstStage, suggestions: LiveSuggestions, typed: TypedText, limit: int) -> list[Suggestion]:
    """Return at most ``limit`` suggestions; raises InvalidRequest if that is out of bounds."""
    snapshot = stage.snapshot
    return suggestions.complete(typed, limit, snapshot, stage.item_filter.allowed(snapshot, for_sale(None)).rows)
