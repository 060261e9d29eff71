"""What servers answer, as plain Python values; `message` is the whole answer of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shortlist.gateway.v1 import gateway_pb2


@dataclass(frozen=True)
class RecommendedItem:
    """One recommended item.

    Attributes:
        item_id: Its id.
        title: The title, for display.
        brand: The brand; empty if unknown.
        category: The category; empty if unknown.
        price: The price in the shop's currency; None if unknown.
        probability: The calibrated probability that the user buys it; None if the ranking stage did not answer.
        reasons: With ``explain``: sentences that say why, most important first.
        message: All fields.
    """

    item_id: str
    title: str
    brand: str
    category: str
    price: float | None
    probability: float | None
    reasons: tuple[str, ...]
    message: gateway_pb2.RecommendedItem = field(repr=False, compare=False)


@dataclass(frozen=True)
class Degradation:
    """What failed, and what was done instead.

    Attributes:
        kind: Such as ``ranking_unavailable``; ``unknown`` if the server is newer than this client.
        detail: Details, for operators.
    """

    kind: str
    detail: str


@dataclass(frozen=True)
class Recommendations:
    """The answer of ``recommend``; iterating it yields its items.

    Attributes:
        items: Best first.
        release_id: The release that answered; empty if no stage did.
        degradations: What failed; empty in a complete answer.
        request_id: The call's id, as in the servers' logs.
        corrected_query: The query that was used instead of the one given, because of its spelling; empty if none was.
        language: With ``explain``: the language of the reasons, ``en`` or ``zh``.
        message: All fields, such as timings and tiers.
    """

    items: tuple[RecommendedItem, ...]
    release_id: str
    degradations: tuple[Degradation, ...]
    request_id: str
    corrected_query: str
    language: str
    message: gateway_pb2.RecommendResponse = field(repr=False, compare=False)

    def __iter__(self) -> Iterator[RecommendedItem]:
        """Yield the items, best first."""
        return iter(self.items)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)


@dataclass(frozen=True)
class RecordedEvents:
    """The answer of ``record``: the events are durable.

    Attributes:
        recorded: How many were new.
        duplicates: How many were known by their id.
    """

    recorded: int = 0
    duplicates: int = 0


def recommendations(message: gateway_pb2.RecommendResponse) -> Recommendations:
    """Return an answer of Recommend."""
    return Recommendations(
        tuple(recommended_item(item) for item in message.items),
        message.release_id,
        tuple(degradation(one) for one in message.degradations),
        message.request_id,
        message.corrected_query,
        message.language,
        message,
    )


def recommended_item(message: gateway_pb2.RecommendedItem) -> RecommendedItem:
    """Return one item of an answer."""
    return RecommendedItem(
        message.item_id,
        message.title,
        message.brand,
        message.category,
        message.price if message.HasField("price") else None,
        message.probability if message.HasField("probability") else None,
        tuple(reason.text for reason in message.reasons),
        message,
    )


def degradation(message: gateway_pb2.Degradation) -> Degradation:
    """Return one degradation."""
    known = dict(zip(gateway_pb2.DegradationKind.values(), gateway_pb2.DegradationKind.keys(), strict=True))
    name = known.get(message.kind, "DEGRADATION_KIND_UNKNOWN")
    return Degradation(name.removeprefix("DEGRADATION_KIND_").lower(), message.detail)
