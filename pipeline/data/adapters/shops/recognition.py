"""Which adapter reads the files that a folder holds, by their headings."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.data.adapters.adapter import Adapter
from pipeline.data.adapters.shops import ga4, ga4_files, google_merchant, shopify, woocommerce
from pipeline.data.adapters.shops.exports import find_kind

_EXPORTS: Final = (
    (shopify.ADAPTER, "a Shopify export", shopify.HEADINGS),
    (woocommerce.ADAPTER, "a WooCommerce export", woocommerce.HEADINGS),
    (google_merchant.ADAPTER, "a Google Merchant feed", google_merchant.HEADINGS),
    (ga4.ADAPTER, "a GA4 export", ga4_files.HEADINGS),
)


@dataclass(frozen=True)
class Recognised:
    """The adapter that fits a folder.

    Attributes:
        adapter: The adapter.
        what: What the folder looks like, with its article.
    """

    adapter: Adapter
    what: str

    @property
    def sentence(self) -> str:
        """What the folder looks like and the option that reads it."""
        return f"this looks like {self.what}: --source {self.adapter.name}"


def recognise(data: Path, columns: Iterable[Collection[str]]) -> Recognised | None:
    """Return the adapter that fits a folder, or None.

    Args:
        data: The folder.
        columns: The columns of each of its tables.
    """
    tables = list(columns)
    for adapter, what, kinds in _EXPORTS:
        needed = next(iter(kinds))  # products, or events where there is no table of products
        if any(find_kind(table, {needed: kinds[needed]}) for table in tables):
            return Recognised(adapter, what)
    if google_merchant.feed_files(data):
        return Recognised(google_merchant.ADAPTER, "a Google Merchant feed")
    if any(ga4_files.is_json_export(file) for file in data.iterdir()):  # a broken line makes it no table
        return Recognised(ga4.ADAPTER, "a GA4 export")
    return None
