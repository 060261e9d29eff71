"""Adapters for the exports of shop platforms, and for any shop's own tables."""

from __future__ import annotations

from typing import Final

from pipeline.data.adapters.adapter import Adapter
from pipeline.data.adapters.shops import ga4, google_merchant, own_tables, shopify, woocommerce

SHOPS: Final[tuple[Adapter, ...]] = (
    ga4.ADAPTER,
    google_merchant.ADAPTER,
    own_tables.ADAPTER,
    shopify.ADAPTER,
    woocommerce.ADAPTER,
)
