"""Adapters for the exports of shop platforms, and for any shop's own tables."""

from __future__ import annotations

from typing import Final

from pipeline.data.adapters.shops import own_tables

SHOPS: Final = (own_tables.ADAPTER,)
