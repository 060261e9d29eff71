"""From a folder with a shop's export to recommendations: a build without a word on the source, and the services."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import polars as pl
import pytest
from rich.console import Console
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from common.server.channel import open_blocking_channel
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.inspection.detection import detect
from pipeline.local_services import local_services
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings

Write = Callable[[Path, pl.DataFrame, pl.DataFrame], None]


def _shopify(folder: Path, items: pl.DataFrame, events: pl.DataFrame) -> None:
    """Write products with two variants each, and orders whose further lines repeat only the number."""
    variants = pl.concat([items.with_columns(pl.lit(size).alias("size")) for size in ("S", "L")], how="vertical")
    text = [
        pl.when(pl.col("size") == "S").then(pl.col(name)).alias(theirs)
        for name, theirs in (("title", "Title"), ("brand", "Vendor"), ("category", "Product Category"))
    ]
    price = pl.col("price").cast(pl.String).alias("Variant Price")
    code = pl.concat_str("item_id", pl.lit("/"), "size").alias("Variant SKU")
    body = pl.lit("<p>Our <b>best</b></p>").alias("Body (HTML)")
    named = variants.sort("item_id", maintain_order=True).with_row_index("at")
    named.select(pl.col("item_id").alias("Handle"), *text, body, price, code).write_csv(
        folder / "products_export_1.csv"
    )
    lines = events.sort("session_id", maintain_order=True).with_columns(
        pl.col("session_id").is_first_distinct().alias("first")
    )
    first = pl.when("first")
    lines.select(
        pl.concat_str(pl.lit("#"), "session_id").alias("Name"),
        first.then(pl.concat_str("user_id", pl.lit("@x.example"))).alias("Email"),
        first.then(pl.lit("paid")).alias("Financial Status"),
        first.then(pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S +0000")).alias("Created at"),
        pl.lit("1").alias("Lineitem quantity"),
        pl.concat_str("item_id", pl.lit(" - S")).alias("Lineitem name"),
        pl.concat_str("item_id", pl.lit("/S")).alias("Lineitem sku"),
    ).write_csv(folder / "orders_export.csv")


def _orders(folder: Path, events: pl.DataFrame) -> None:
    time = pl.col("timestamp").dt.strftime("%d.%m.%Y %H:%M")
    user = pl.concat_str("user_id", pl.lit("@x.example"))
    events.select(user.alias("Customer ID"), pl.col("item_id").alias("Product ID"), time.alias("Order Date")).write_csv(
        folder / "orders.csv", separator=";"
    )


def _merchant_tsv(folder: Path, items: pl.DataFrame, events: pl.DataFrame) -> None:
    """Write a feed with tabs, prices with currencies, and the shop's own orders in semicolons."""
    items.select(
        pl.col("item_id").alias("id"),
        "title",
        pl.lit("https://x.example/i").alias("image_link"),
        pl.lit("in_stock").alias("availability"),
        pl.concat_str(pl.col("price").cast(pl.String), pl.lit(" EUR")).alias("price"),
        "brand",
        pl.col("category").alias("product_type"),
    ).write_csv(folder / "feed.txt", separator="\t")
    _orders(folder, events)


def _merchant_xml(folder: Path, items: pl.DataFrame, events: pl.DataFrame) -> None:
    """Write a feed as RSS 2.0."""
    names = {"item_id": "id", "title": "title", "brand": "brand", "category": "product_type", "price": "price"}
    entries = [
        "".join(f"<g:{tag}>{escape(str(row[name]))}</g:{tag}>" for name, tag in names.items() if row[name] is not None)
        for row in items.iter_rows(named=True)
    ]
    body = "".join(f"<item>{entry}</item>" for entry in entries)
    space = 'xmlns:g="http://base.google.com/ns/1.0"'
    (folder / "feed.xml").write_text(f'<rss version="2.0" {space}><channel>{body}</channel></rss>')
    _orders(folder, events)


def _messy(folder: Path, items: pl.DataFrame, events: pl.DataFrame) -> None:
    """Write tables in two encodings with a title, markup, a decimal comma, a guest and an event of next year."""
    price = pl.concat_str(pl.col("price").cast(pl.String).str.replace(".", ",", literal=True), pl.lit(" €"))
    title = pl.concat_str(pl.lit("<b>"), "title", pl.lit("</b>"))
    columns = (title.alias("Product Name"), pl.col("brand").alias("Marke"), pl.col("category").alias("Kategorie"))
    table = items.select(pl.col("item_id").alias("SKU"), *columns, price.alias("Preis")).write_csv(separator=";")
    (folder / "Produkte für 2026.csv").write_bytes(f"Liste für 2026\n\n{table}".encode("cp1252"))
    user = pl.concat_str("user_id", pl.lit("@x.example"))
    time = pl.col("timestamp").dt.strftime("%d.%m.%Y %H:%M")
    bought = events.select(user.alias("Customer"), pl.col("item_id").alias("SKU"), time.alias("Order Date"))
    text = bought.write_csv(separator=";") + f"guest;{items['item_id'][0]};13.01.2026 10:00\n"
    (folder / "Bestellungen.CSV").write_bytes(text.encode("utf-16"))


def _asked(dataset: Dataset) -> set[tuple[str, str]]:
    return set(dataset.events.select("user_id", "item_id").rows())


@pytest.mark.parametrize(
    ("write", "source"),
    [(_shopify, "shopify"), (_merchant_tsv, "google-merchant"), (_merchant_xml, "google-merchant"), (_messy, "table")],
)
def test_an_export_is_the_shop_that_was_exported(tmp_path: Path, tiny_dataset: Dataset, write: Write, source: str):
    """The source is detected, and items and purchases are those of the shop, whatever the form."""
    write(tmp_path, tiny_dataset.items, tiny_dataset.events)
    found = detect(tmp_path)
    assert found.source == source
    dataset = found.prepare(lambda _: None)
    assert set(dataset.items["item_id"]) == set(tiny_dataset.items["item_id"])
    known = ["item_id", "title", "brand", "category", "price"]
    assert dataset.items.select(known).sort("item_id").equals(tiny_dataset.items.select(known).sort("item_id"))
    assert _asked(dataset) == {(f"{user}@x.example", item) for user, item in _asked(tiny_dataset)}


def test_from_a_folder_to_recommendations(tmp_path: Path, tiny_dataset: Dataset, tiny_settings: BuildSettings):
    """A release of Shopify's export is served, and a customer is recommended as many of its items as were asked for."""
    folder = tmp_path / "export"
    folder.mkdir()
    _shopify(folder, tiny_dataset.items, tiny_dataset.events)
    store = tmp_path / "release"
    build(detect(folder).prepare(lambda _: None), store, tiny_settings, ProgressReport(Console(quiet=True)))
    history = tiny_dataset.events.filter(pl.col("user_id") == "u0")["item_id"].to_list()
    with (
        local_services(store, tmp_path / "live") as services,
        open_blocking_channel(services.targets["gateway"]) as channel,
    ):
        request = gateway_pb2.RecommendRequest(user_id="new", history_item_ids=history[-10:], limit=5)
        answer = gateway_pb2_grpc.RecommendationServiceStub(channel).Recommend(request, timeout=20)
    found = [item.item_id for item in answer.items]
    assert len(found) == 5
    assert set(found) <= set(tiny_dataset.items["item_id"])
