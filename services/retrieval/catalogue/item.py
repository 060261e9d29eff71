"""An item as callers write and read it."""

from __future__ import annotations

from dataclasses import dataclass

from common.arrays import Float32Array
from common.text import item_text


@dataclass(frozen=True, eq=False)
class Item:
    """One item of the live catalogue.

    Attributes:
        item_id: Its id.
        title: Its title.
        brand: Its brand, empty if unknown.
        category: Its category, empty if unknown.
        description: Its description, empty if unknown.
        price: Its price in the shop's currency, None if unknown.
        available: Whether it can be bought now.
        vector: Its embedding, None if its text is to be embedded; shape [dimension].
    """

    item_id: str
    title: str
    brand: str = ""
    category: str = ""
    description: str = ""
    price: float | None = None
    available: bool = True
    vector: Float32Array | None = None

    @property
    def text(self) -> str:
        """The text that the models read."""
        return item_text(self.title, self.brand, self.category, self.description)
