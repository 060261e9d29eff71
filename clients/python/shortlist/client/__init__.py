"""The Python client of Shortlist: ask a gateway for recommendations, and tell it what users did.

    from shortlist.client import Client

    with Client("localhost:50051") as client:
        for item in client.recommend(user_id="u1", query="oat milk").items:
            print(item.item_id, item.title, item.probability)

:class:`AsyncClient` has the same methods for asyncio. Both need grpcio and protobuf alone.
"""

from __future__ import annotations

from shortlist.client.answers import Degradation, Recommendations, RecommendedItem, RecordedEvents
from shortlist.client.async_client import AsyncClient
from shortlist.client.connection import Tls
from shortlist.client.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    ShortlistClientError,
    Unauthenticated,
    Unavailable,
)
from shortlist.client.methods.batches import BatchAnswer, BatchRequest
from shortlist.client.methods.related_items import RelatedItem, RelatedItems
from shortlist.client.methods.suggestions import Suggestion, Suggestions
from shortlist.client.requests import Event, Filter, HistoryItem, Policy, all_of, any_of, match, none_of, price_range
from shortlist.client.sync_client import Client

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "BatchAnswer",
    "BatchRequest",
    "Client",
    "DeadlineExceeded",
    "Degradation",
    "Event",
    "Filter",
    "HistoryItem",
    "InternalError",
    "InvalidRequest",
    "NotFound",
    "Overloaded",
    "PermissionDenied",
    "Policy",
    "Recommendations",
    "RecommendedItem",
    "RecordedEvents",
    "RelatedItem",
    "RelatedItems",
    "ShortlistClientError",
    "Suggestion",
    "Suggestions",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "all_of",
    "any_of",
    "match",
    "none_of",
    "price_range",
]
