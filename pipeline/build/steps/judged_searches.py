"""Searches to learn from in a shop with events: made of what was bought, and judged ones where the shop has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.data.dataset.training_requests import ShopRequest, simulate_cold_start
from pipeline.learning.examples.judged_queries import JudgedQuery, learn_and_hold_out, part_by_items
from pipeline.learning.examples.typed_searches import ItemWords, as_typed
from pipeline.release.config.build_settings import BuildSettings

# Items with a lower grade, as a share of the highest, are not what was searched for.
_MIN_GRADE: Final = 0.5
# The share of the searches made of titles that are changed to what people type.
_TYPED_SHARE: Final = 0.5
# The share of the searches that tier depths are planned by, and nothing is learned from.
_PLANNED_SHARE: Final = 1 / 3


@dataclass(frozen=True)
class JudgedSearches:
    """Searches whose relevant items were judged.

    Attributes:
        train: Those to learn from.
        checked: Those to plan by; they share no relevant item with the others.
    """

    train: Sequence[ShopRequest] = field(default_factory=list)
    checked: Sequence[ShopRequest] = field(default_factory=list)


def draw_searches(
    settings: BuildSettings, requests: Sequence[ShopRequest], words: ItemWords, seed: int
) -> list[ShopRequest]:
    """Turn shares of the requests into searches, half of them as people type them, and into those of new users."""
    searches = simulate_cold_start(
        requests, words.titles, searches=settings.query_share, newcomers=settings.newcomer_share, seed=seed
    )
    return as_typed(requests, searches, words, share=_TYPED_SHARE, seed=seed)


def judged_searches(context: BuildContext, catalogue: Catalogue) -> JudgedSearches:
    """Return the dataset's judged searches without those held out for the gate; none if there are no judgements."""
    queries, _ = learn_and_hold_out(context.dataset.judgements, catalogue, context.settings.test_users)
    train, checked = part_by_items(queries, _PLANNED_SHARE, context.settings.seed)
    return JudgedSearches(*([_request(one, catalogue) for one in part] for part in (train, checked)))


def _request(query: JudgedQuery, catalogue: Catalogue) -> ShopRequest:
    rows = query.rows[(query.rows >= 0) & (query.grades >= _MIN_GRADE)]
    return ShopRequest((), query.query, frozenset(catalogue.item_ids[row] for row in rows.tolist()))
