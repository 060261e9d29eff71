"""The messages of Complete and ListFacets."""

from __future__ import annotations

from collections.abc import Sequence

from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest
from common.server.filter_messages import read_filter
from common.text import MAX_QUERY_CHARACTERS
from services.retrieval.candidates.request import DEFAULT_LIMIT, MAX_LIMIT, Request
from services.retrieval.search.facets import DEFAULT_BUCKETS, DEFAULT_VALUES, Facet, FacetRequest
from services.retrieval.server.request_messages import plain
from services.retrieval.suggestions.live_suggestions import Suggestion
from services.retrieval.suggestions.typed_text import DEFAULT_SUGGESTIONS, TypedText


def read_complete(message: retrieval_pb2.CompleteRequest) -> tuple[TypedText, int]:
    """Return what the user has typed, and how many suggestions are wanted; raises InvalidRequest."""
    return TypedText.read(message.text), message.limit if message.HasField("limit") else DEFAULT_SUGGESTIONS


def write_suggestions(suggestions: Sequence[Suggestion], release_id: str) -> retrieval_pb2.CompleteResponse:
    """Write suggestions."""
    return retrieval_pb2.CompleteResponse(
        suggestions=[
            retrieval_pb2.Suggestion(
                text=each.text,
                kind=retrieval_pb2.SuggestionKind.Value(f"SUGGESTION_KIND_{each.kind.upper()}"),
                item_id=each.item_id,
                corrected_words=each.corrected_words,
                popularity=each.popularity,
            )
            for each in suggestions
        ],
        release_id=release_id,
    )


def read_list_facets(message: retrieval_pb2.ListFacetsRequest) -> tuple[Request, FacetRequest]:
    """Return which items to count, and how; raises InvalidRequest."""
    if message.HasField("candidates") and not 1 <= message.candidates <= MAX_LIMIT:
        raise InvalidRequest(f"candidates: {message.candidates} is not 1 to {MAX_LIMIT:,}; unset it is {DEFAULT_LIMIT}")
    request = Request(
        query=plain(message.query, MAX_QUERY_CHARACTERS),
        filter=read_filter(message.filter) if message.HasField("filter") else None,
        limit=message.candidates if message.HasField("candidates") else DEFAULT_LIMIT,
    )
    return request, FacetRequest(
        tuple(message.attributes),
        message.max_values if message.HasField("max_values") else DEFAULT_VALUES,
        message.max_buckets if message.HasField("max_buckets") else DEFAULT_BUCKETS,
    )


def write_facets(
    counted: tuple[Sequence[Facet], int], release_id: str, *, of_candidates: bool
) -> retrieval_pb2.ListFacetsResponse:
    """Write facets and the number of items that were counted."""
    facets, items = counted
    scope = retrieval_pb2.FACET_SCOPE_CANDIDATES if of_candidates else retrieval_pb2.FACET_SCOPE_MATCHING_ITEMS
    return retrieval_pb2.ListFacetsResponse(facets=map(_facet, facets), scope=scope, items=items, release_id=release_id)


def _facet(facet: Facet) -> retrieval_pb2.Facet:
    return retrieval_pb2.Facet(
        attribute=facet.attribute,
        values=[retrieval_pb2.FacetValue(value=value, items=items) for value, items in facet.values],
        distinct_values=facet.distinct_values,
        other_items=facet.other_items,
        missing_items=facet.missing_items,
        buckets=[
            retrieval_pb2.FacetBucket(min=each.minimum, max=each.maximum, items=each.items) for each in facet.buckets
        ],
    )
