"""WANDS (Wayfair): product search judgements, three tab-separated files (Chen et al., ECIR 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.files.tables import read_table
from pipeline.data.ingest.plain_text import plain_column
from pipeline.data.ingest.row_filter import RowFilter, filter_judgements, no_events, no_events_report, refuse_empty

GRADES: Final = {"Exact": 1.0, "Partial": 0.5, "Irrelevant": 0.0}


_PRODUCT: Final = ("product_id", "product_name", "product_class", "product_description")


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a folder with ``query.csv``, ``product.csv`` and ``label.csv``.

    ``Exact`` has relevance 1, ``Partial`` 0.5 and ``Irrelevant`` 0, as in the paper's NDCG.

    Raises:
        BadDataset: A file or a column is missing, or no usable row is left.
    """
    progress("reading products")
    products = RowFilter(_read(data / "product.csv", _PRODUCT))
    _clean_products(products)
    refuse_empty(products, f"{data}/product.csv")
    items = _items(products.frame)
    progress("reading judgements")
    judgements = _judgements(data, items)
    refuse_empty(judgements, f"{data}/label.csv")
    kept = judgements.frame.select("query", "item_id", "relevance")
    report = DataReport(
        source=ADAPTER.name,
        licence=ADAPTER.licence,
        tables={
            "items": products.report(missing_in=items),
            "events": no_events_report(),
            "judgements": judgements.report(missing_in=kept),
        },
    )
    return Dataset(items, no_events(), kept, report)


def _read(file: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    return read_table(file, {column: column for column in columns}, infer=False, separator="\t")


def _clean_products(products: RowFilter) -> None:
    products.drop("no_id", "The product has no id.", pl.col("product_id").is_null())
    blank = pl.col("product_name").is_null() | (pl.col("product_name").str.strip_chars() == "")
    products.drop("no_title", "The product has no name.", blank)
    again = ~pl.col("product_id").is_first_distinct()
    products.drop("repeated_id", "A product with this id came before; the first one stays.", again)


def _items(products: pl.DataFrame) -> pl.DataFrame:
    return products.select(
        pl.col("product_id").alias("item_id"),
        pl.col("product_name").str.strip_chars().alias("title"),
        # Some products have two classes, "Rugs|Doormats"; the first is the one that search results show.
        pl.col("product_class").str.split("|").list.first().alias("category"),
        plain_column("product_description").alias("description"),
        pl.lit("en").alias("language"),
    )


def _judgements(data: Path, items: pl.DataFrame) -> RowFilter:
    queries = _read(data / "query.csv", ("query_id", "query")).unique("query_id", keep="first", maintain_order=True)
    labels = _read(data / "label.csv", ("query_id", "product_id", "label"))
    graded = labels.join(queries, on="query_id", how="left", maintain_order="left").select(
        pl.col("query").str.strip_chars().replace("", None),
        pl.col("product_id").alias("item_id"),
        pl.col("label").replace_strict(GRADES, default=None, return_dtype=pl.Float64).alias("relevance"),
    )
    return filter_judgements(graded, items)


ADAPTER: Final = Adapter(
    name="wands",
    description="WANDS: Wayfair's product search judgements, a folder with query.csv, product.csv and label.csv",
    licence="WANDS, Wayfair (MIT)",
    prepare=prepare,
)
