"""A request as the page sends it: what is asked of which gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from shortlist.client import Filter, Policy, all_of, match, price_range
from shortlist.client.requests import Stages

ItemId = Annotated[str, StringConstraints(min_length=1, max_length=256)]
MAX_HISTORY: Final = 1_000
# What a card can show; the gateway's own limit is higher.
MAX_ITEMS: Final = 100
Cap = Annotated[int, Field(ge=1, lt=1 << 32)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rules(_Strict):
    """The policy, with the names and defaults of the contract; the gateway checks the values."""

    min_probability: float | None = None
    blocked_item_ids: tuple[ItemId, ...] = ()
    max_per_brand: Cap | None = None
    max_per_category: Cap | None = None
    exclude_history: bool = False
    exclude_purchased: bool = False
    stages: Stages = "both"
    min_long_tail_share: float | None = None
    keep_duplicates: bool = False
    diversity: float | None = None
    min_new_item_share: float | None = None

    def policy(self) -> Policy:
        """Return it as the client takes it."""
        return Policy(**self.model_dump())


class Conditions(_Strict):
    """Which items may be recommended: all of these hold.

    Attributes:
        values: Accepted values by attribute.
        min_price: Lowest price.
        max_price: Highest price.
    """

    values: Mapping[str, tuple[str, ...]] = {}
    min_price: float | None = None
    max_price: float | None = None

    def filter(self) -> Filter | None:
        """Return the filter; None if nothing is asked."""
        parts = [match(attribute, *accepted) for attribute, accepted in self.values.items() if accepted]
        if self.min_price is not None or self.max_price is not None:
            parts.append(price_range(self.min_price, self.max_price))
        return all_of(*parts) if parts else None


class AskedRequest(_Strict):
    """One question to one gateway.

    Attributes:
        gateway: The gateway's name; empty for the first one.
        user_id: The user, whose recorded events are the history.
        query: What the user searches for.
        history: Items the user bought, oldest first.
        where: Which items may be recommended.
        limit: How many items to return.
        rules: The policy.
        keep_query: Whether the query's spelling is left as it is.
    """

    gateway: str = ""
    user_id: str = ""
    query: str = ""
    history: Annotated[tuple[ItemId, ...], Field(max_length=MAX_HISTORY)] = ()
    where: Conditions = Conditions()
    limit: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = 12
    rules: Rules = Rules()
    keep_query: bool = False

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the client's `recommend`, but for `explain`."""
        return {
            "user_id": self.user_id,
            "query": self.query,
            "history": self.history,
            "where": self.where.filter(),
            "limit": self.limit,
            "policy": None if self.rules == Rules() else self.rules.policy(),
            "keep_query": self.keep_query,
        }
