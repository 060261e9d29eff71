"""Writes protobuf responses."""

from __future__ import annotations

from typing import Final

from shortlist.release.v1 import release_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.filters import MAX_CONDITIONS
from common.server.release_service import release_info
from services.retrieval.candidates.request import (
    MAX_BATCH_CANDIDATES,
    MAX_EXCLUDED,
    MAX_HISTORY,
    MAX_LIMIT,
    MAX_REQUESTS,
)
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.item_validation import MAX_ITEMS
from services.retrieval.changes.text_log import TextPage
from services.retrieval.server.loaded_release import LoadedRelease

_LIMITS: Final = {
    "candidates": MAX_LIMIT,
    "history_items": MAX_HISTORY,
    "excluded_items": MAX_EXCLUDED,
    "requests": MAX_REQUESTS,
    "batch_candidates": MAX_BATCH_CANDIDATES,
    "items_per_call": MAX_ITEMS,
    "filter_conditions": MAX_CONDITIONS,
}


def write_item(item: Item) -> retrieval_pb2.Item:
    """Write an item of the catalogue."""
    return retrieval_pb2.Item(
        item_id=item.item_id,
        title=item.title,
        brand=item.brand,
        category=item.category,
        description=item.description,
        price=item.price,
        available=item.available,
    )


def write_texts(page: TextPage) -> retrieval_pb2.ReadItemTextsResponse:
    """Write texts of changed items; the text of a removed one stays unset."""
    items = [retrieval_pb2.ItemText(item_id=item_id, text=text) for item_id, text in page.texts]
    return retrieval_pb2.ReadItemTextsResponse(log_id=page.log_id, position=page.position, items=items, more=page.more)


def write_release_info(loaded: LoadedRelease) -> release_pb2.ReleaseInfo:
    """Describe the release being served."""
    info = release_info("retrieval", loaded.release, {"encoder": loaded.stage.provider})
    info.items = loaded.stage.snapshot.item_count
    info.sources.extend(loaded.stage.sources)
    info.index_type = loaded.stage.index_type
    info.limits.update(_LIMITS)
    return info
