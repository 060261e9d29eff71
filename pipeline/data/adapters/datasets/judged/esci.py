"""ESCI, Amazon's Shopping Queries Dataset: judgements in three languages, Parquet (Reddy et al., arXiv 2206.06588)."""

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

EXAMPLES: Final = "shopping_queries_dataset_examples.parquet"


PRODUCTS: Final = "shopping_queries_dataset_products.parquet"


# The gains of the paper's NDCG: exact, substitute, complement, irrelevant.
GAINS: Final = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}


LANGUAGES: Final = {"us": "en", "es": "es", "jp": "ja"}


_EXAMPLE: Final = ("query", "product_id", "product_locale", "esci_label", "small_version", "split")


_PRODUCT: Final = (
    *("product_id", "product_locale", "product_title", "product_description"),
    *("product_bullet_point", "product_brand", "product_color"),
)


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a folder with the two Parquet files of examples and products.

    A product of two locales is two items, ``us:B07…`` and ``es:B07…``: their texts differ. The relevance is the paper's
    gain. Judgements keep ``language``, ``split`` and ``small_version`` (true for those of the ranking task).

    Raises:
        BadDataset: A file or a column is missing, or no usable row is left.
    """
    progress("reading products")
    products = RowFilter(_read(data / PRODUCTS, _PRODUCT))
    _clean_products(products)
    refuse_empty(products, f"{data}/{PRODUCTS}")
    items = _items(products.frame)
    progress("reading judgements")
    judgements = filter_judgements(_judgements(_read(data / EXAMPLES, _EXAMPLE)), items)
    refuse_empty(judgements, f"{data}/{EXAMPLES}")
    report = DataReport(
        source=ADAPTER.name,
        licence=ADAPTER.licence,
        tables={
            "items": products.report(missing_in=items),
            "events": no_events_report(),
            "judgements": judgements.report(),
        },
    )
    return Dataset(items, no_events(), judgements.frame, report)


def _read(file: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    return read_table(file, {column: column for column in columns})


def _item_id() -> pl.Expr:
    return pl.concat_str("product_locale", pl.lit(":"), "product_id").alias("item_id")


def _clean_products(products: RowFilter) -> None:
    products.drop("no_id", "Id or locale is missing.", _item_id().is_null())
    unknown = ~pl.col("product_locale").is_in(list(LANGUAGES))
    products.drop("unknown_locale", f"Locales are {', '.join(LANGUAGES)}.", unknown)
    blank = pl.col("product_title").is_null() | (pl.col("product_title").str.strip_chars() == "")
    products.drop("no_title", "The product has no title.", blank)
    again = ~_item_id().is_first_distinct()
    products.drop("repeated_id", "A product with this id came before; the first one stays.", again)


def _items(products: pl.DataFrame) -> pl.DataFrame:
    described = products.with_columns(plain_column("product_description"), plain_column("product_bullet_point"))
    return described.select(
        _item_id(),
        pl.col("product_title").str.strip_chars().alias("title"),
        _filled("product_brand").alias("brand"),
        pl.coalesce("product_description", "product_bullet_point").alias("description"),
        _language(),
        _filled("product_color").alias("colour"),
    )


def _filled(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().replace("", None)


def _language() -> pl.Expr:
    return pl.col("product_locale").replace_strict(LANGUAGES, default=None, return_dtype=pl.String).alias("language")


def _judgements(examples: pl.DataFrame) -> pl.DataFrame:
    return examples.select(
        _filled("query"),
        _item_id(),
        pl.col("esci_label").replace_strict(GAINS, default=None, return_dtype=pl.Float64).alias("relevance"),
        "split",
        _language(),
        (pl.col("small_version") == 1).alias("small_version"),
    )


ADAPTER: Final = Adapter(
    name="esci",
    description="ESCI: Amazon's Shopping Queries, a folder with the Parquet files of examples and products",
    licence="Shopping Queries Dataset, Amazon (Apache 2.0)",
    prepare=prepare,
)
