"""Which adapters read the files that a folder holds, by their headings."""

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


def recognise(data: Path, columns: Iterable[Collection[str]]) -> list[Recognised]:
    """Return the adapters that fit a file or folder.

    Args:
        data: The file or folder.
        columns: The columns of each of its tables.
    """
    tables = list(columns)
    found = [
        Recognised(adapter, what)
        for adapter, what, kinds in _EXPORTS
        # Products, or events where there is no table of products.
        if (needed := next(iter(kinds))) and any(find_kind(table, {needed: kinds[needed]}) for table in tables)
    ]
    known = {one.adapter for one in found}
    if google_merchant.ADAPTER not in known and google_merchant.feed_files(data):
        found.append(Recognised(google_merchant.ADAPTER, "a Google Merchant feed"))
    files = data.iterdir() if data.is_dir() else [data]
    if ga4.ADAPTER not in known and any(ga4_files.is_json_export(file) for file in files):  # also with a broken line
        found.append(Recognised(ga4.ADAPTER, "a GA4 export"))
    return found
