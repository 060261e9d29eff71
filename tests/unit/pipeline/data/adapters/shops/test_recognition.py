"""The adapter that fits a folder is found by headings."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.adapters.shops.recognition import recognise
from pipeline.data.inspection.inspection import inspect

SHOPIFY = ["Handle", "Title", "Body (HTML)", "Variant Price"]
WOO = ["ID", "Type", "SKU", "Name", "Regular price", "Parent"]
MERCHANT = ["id", "title", "image link", "price"]
GA4 = ["event_name", "event_timestamp", "user_pseudo_id", "items"]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (SHOPIFY, "this looks like a Shopify export: --source shopify"),
        (WOO, "this looks like a WooCommerce export: --source woocommerce"),
        (MERCHANT, "this looks like a Google Merchant feed: --source google-merchant"),
        (GA4, "this looks like a GA4 export: --source ga4"),
        (["sku", "name", "price"], None),
    ],
)
def test_headings_tell_the_platform(tmp_path: Path, columns: list[str], sentence: str | None):
    """One sentence names the platform and the option; other headings are a shop's own."""
    found = recognise(tmp_path, [["a"], columns])
    assert [one.sentence for one in found] == ([sentence] if sentence else [])


def test_every_platform_that_fits_is_named(tmp_path: Path):
    """A folder may hold the exports of two."""
    assert [one.adapter.name for one in recognise(tmp_path, [GA4, SHOPIFY])] == ["shopify", "ga4"]


def test_an_inspection_tries_the_adapter(tmp_path: Path):
    """Its dataset is what the adapter makes; no mapping is proposed."""
    (tmp_path / "p.csv").write_text("Handle,Title,Variant Price,Variant SKU\nmug,Mug,9.5,1\nmug,,9.5,2\n")
    found = inspect(tmp_path)
    assert found.dataset is not None
    assert found.dataset.items["item_id"].to_list() == ["mug"]
    assert found.description is None
    assert found.warnings[-1] == ("note", "this looks like a Shopify export: --source shopify")


def test_files_that_are_no_tables_are_recognised(tmp_path: Path):
    """A feed in XML, and JSON Lines that a broken line keeps from being a table."""
    (tmp_path / "feed.xml").write_text('<rss xmlns:g="http://base.google.com/ns/1.0"><item><g:id>1</g:id></item></rss>')
    found = inspect(tmp_path)
    assert [severity for severity, _ in found.warnings] == ["error", "note"]
    assert "no product has the attribute title" in found.warnings[0][1]
    (tmp_path / "feed.xml").unlink()
    (tmp_path / "e.json").write_text('{"event_name": "view_item", "event_timestamp": "1612069510766594",\n')
    assert inspect(tmp_path).warnings[-1] == ("note", "this looks like a GA4 export: --source ga4")
