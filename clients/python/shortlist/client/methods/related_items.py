"""Items near given items, as plain Python values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shortlist.client.answers import Degradation, degradation
from shortlist.gateway.v1 import gateway_pb2


@dataclass(frozen=True)
class RelatedItem:
    """One item near given items.

    Attributes:
        item_id: Its id.
        title: The title, for display.
        brand: The brand; empty if unknown.
        category: The category; empty if unknown.
        price: The price in the shop's currency; None if unknown.
        score: Higher is better; comparable only within one answer.
        sources: The names of the sources that found it.
        reasons: With ``explain``: sentences that say why, most important first.
        message: All fields.
    """

    item_id: str
    title: str
    brand: str
    category: str
    price: float | None
    score: float
    sources: tuple[str, ...]
    reasons: tuple[str, ...]
    message: gateway_pb2.RelatedItem = field(repr=False, compare=False)


@dataclass(frozen=True)
class RelatedItems:
    """The answer of ``similar_items`` and ``related_to_cart``; iterating it yields its items.

    Attributes:
        items: Best first.
        release_id: The release that answered.
        request_id: The call's id, as in the servers' logs.
        ignored_items: How many items of the cart the release does not have.
        language: With ``explain``: the language of the reasons, ``en`` or ``zh``.
        degradations: Rules that were not applied; empty in a complete answer.
    """

    items: tuple[RelatedItem, ...]
    release_id: str
    request_id: str
    ignored_items: int = 0
    degradations: tuple[Degradation, ...] = ()
    language: str = ""

    def __iter__(self) -> Iterator[RelatedItem]:
        """Yield the items, best first."""
        return iter(self.items)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)


def related_items(message: gateway_pb2.SimilarItemsResponse | gateway_pb2.RelatedToCartResponse) -> RelatedItems:
    """Return an answer of SimilarItems or RelatedToCart."""
    ignored = message.ignored_items if isinstance(message, gateway_pb2.RelatedToCartResponse) else 0
    return RelatedItems(
        tuple(_related_item(item) for item in message.items),
        message.release_id,
        message.request_id,
        ignored,
        tuple(map(degradation, message.degradations)),
        message.language,
    )


def _related_item(message: gateway_pb2.RelatedItem) -> RelatedItem:
    return RelatedItem(
        message.item_id,
        message.title,
        message.brand,
        message.category,
        message.price if message.HasField("price") else None,
        message.score,
        tuple(source.source for source in message.sources),
        tuple(reason.text for reason in message.reasons),
        message,
    )
