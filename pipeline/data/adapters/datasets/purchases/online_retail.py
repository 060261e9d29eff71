"""Online Retail (UCI 352 and 502): invoices of a British gift shop, as workbook or table, or a folder with one."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.files.tables import only_table, read_all_columns, select_columns
from pipeline.data.ingest.abbreviations import name_case
from pipeline.data.ingest.row_filter import RowFilter, refuse_empty
from pipeline.data.ingest.times import read_times

_COLUMNS: Final = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")


# Columns with other names in Online Retail II. Its two sheets overlap: lines in both count as repeated.
_SECOND_EDITION_NAMES: Final = {"InvoiceNo": "Invoice", "UnitPrice": "Price", "CustomerID": "Customer ID"}


_SECOND_LICENCE: Final = "Online Retail II, UCI Machine Learning Repository 502 (CC BY 4.0)"


# Five digits and a variant, or the shop's own gift codes. Not POST, D, M, DOT, C2, S, B, BANK CHARGES, AMAZONFEE, CRUK,
# PADS and gift_0001_20 (vouchers).
_PRODUCT_CODE: Final = r"^(?:\d{5}[A-Z]{0,3}|DCGS\w+)$"


_SERVICES: Final = r"(?i)^(?:next day carriage|high resolution image)$|gift voucher"


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from the raw file at ``data``, or of the only table in that folder.

    Invoices without a customer are kept as baskets. Each is a separate visit: its ``user_id`` is
    ``guest-<invoice>`` and ``known_user`` is false.

    Raises:
        BadDataset: The file or a column is missing, or no line is a purchase.
    """
    progress("reading invoices")
    raw, licence = _read(data)
    lines = RowFilter(raw)
    codes = RowFilter(lines.frame.select("StockCode").unique())
    progress("removing lines that are no purchases")
    _clean(lines)
    refuse_empty(lines, f"{data} holds no purchase")
    progress("choosing titles")
    items, events = _items(lines.frame), _events(lines.frame)
    codes.drop(
        "never_bought",
        "Every line of the code was left out (see events).",
        ~pl.col("StockCode").is_in(items["item_id"].implode()),
    )
    guests = events.filter(~pl.col("known_user"))
    visits = guests["user_id"].n_unique()
    report = DataReport(
        source=ADAPTER.name,
        licence=licence,
        tables={
            "items": codes.report(missing_in=items),
            "events": lines.report(missing_in=events),
        },
        notes=[
            f"{guests.height:,} events of {visits:,} invoices name no customer (known_user is false).",
            "Items are the distinct codes; the data has no brand, category or description.",
        ],
    )
    return Dataset(items, events, None, report)


def _read(data: Path) -> tuple[pl.DataFrame, str]:
    """Read the raw lines with trimmed text, codes in capitals, and the line's number; and the data's terms."""
    file = only_table(data)
    whole = read_all_columns(file, infer=False)
    second = "Invoice" in whole.columns
    raw = select_columns(
        whole, {column: _SECOND_EDITION_NAMES.get(column, column) if second else column for column in _COLUMNS}, file
    )
    text = {
        column: pl.col(column).cast(pl.String).str.strip_chars() for column in ("InvoiceNo", "StockCode", "Description")
    }
    lines = raw.with_columns(
        text["InvoiceNo"].str.to_uppercase(),
        text["StockCode"].str.to_uppercase(),
        text["Description"].str.replace_all(r"\s+", " ").replace({"": None, "nan": None}),
        pl.col("Quantity").cast(pl.Float64, strict=False).cast(pl.Int64),
        read_times(raw["InvoiceDate"]).times,
        pl.col("UnitPrice").cast(pl.Float64, strict=False),
        pl.col("CustomerID").cast(pl.Float64, strict=False).cast(pl.Int64).cast(pl.String),
    ).with_row_index("line")
    return lines, _SECOND_LICENCE if second else ADAPTER.licence


def _clean(lines: RowFilter) -> None:
    unreadable = pl.any_horizontal(pl.col("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice").is_null())
    lines.drop("unreadable", "Invoice, code, quantity, date or price is missing or unreadable.", unreadable)
    repeated = ~pl.struct(_COLUMNS).is_first_distinct()
    lines.drop("repeated_line", "An equal line came before.", repeated)
    adjustment = pl.col("InvoiceNo").str.starts_with("A")
    lines.drop("bad_debt", "An invoice A… adjusts bad debt.", adjustment)
    service = ~pl.col("StockCode").str.contains(_PRODUCT_CODE) | pl.col("Description").str.contains(_SERVICES)
    lines.drop("not_a_product", "Postage, carriage, discounts, fees, samples, vouchers and manual entries.", service)
    cancelled = pl.col("InvoiceNo").str.starts_with("C")
    cancellations = lines.drop("cancellation", "An invoice C… takes a purchase back.", cancelled)
    taken_back = _taken_back(lines.frame, cancellations)
    why = "A later cancellation by the same customer takes back this item in this quantity."
    lines.drop("cancelled_purchase", why, pl.col("line").is_in(taken_back))
    why = "A quantity of zero or less without cancellation is a return to stock or a write-off."
    lines.drop("stock_movement", why, pl.col("Quantity") <= 0)
    why = "A price of zero or less marks stock notes (damaged, found, check), samples and gifts."
    lines.drop("no_price", why, pl.col("UnitPrice") <= 0)
    named = lines.frame.filter(pl.col("Description").is_not_null())["StockCode"].unique()
    lines.drop("unnamed", "No purchase of this code has a description.", ~pl.col("StockCode").is_in(named.implode()))


def _taken_back(purchases: pl.DataFrame, cancellations: pl.DataFrame) -> list[int]:
    """Return the line numbers of the purchases that cancellations take back.

    Each cancellation takes back the latest purchase before it of the same customer, item and quantity that none
    has taken back yet; one that fits no purchase (a part of a quantity, an earlier year) takes back none.
    """
    key = ("CustomerID", "StockCode", "Quantity")
    columns = (*key, "InvoiceDate", "line")
    undone = cancellations.with_columns(-pl.col("Quantity")).select(*columns, sign=-1)
    bought = purchases.select(*columns, sign=1).join(undone.select(key).unique(), on=key, how="semi")
    open_lines: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    taken: list[int] = []
    for *of, _, line, sign in pl.concat([bought, undone]).sort("InvoiceDate", "line").iter_rows():
        pending = open_lines[tuple(of)]
        if sign > 0:
            pending.append(line)
        elif pending:
            taken.append(pending.pop())
    return taken


def _items(lines: pl.DataFrame) -> pl.DataFrame:
    """Return one item for each code, titled with its most frequent description, ties by alphabet."""
    names = lines.drop_nulls("Description").group_by("StockCode", "Description").len()
    best = names.sort("len", "Description", descending=[True, False]).unique(
        "StockCode", keep="first", maintain_order=True
    )
    prices = lines.group_by("StockCode").agg(pl.col("UnitPrice").median().round(2).alias("price"))
    titled = best.with_columns(pl.col("Description").map_elements(name_case, return_dtype=pl.String).alias("title"))
    return titled.join(prices, on="StockCode").select(pl.col("StockCode").alias("item_id"), "title", "price")


def _events(lines: pl.DataFrame) -> pl.DataFrame:
    """Return purchases; an event's id ends in the line's number, so that lines of one invoice keep their order."""
    guest = pl.concat_str(pl.lit("guest-"), "InvoiceNo")
    return lines.select(
        pl.coalesce("CustomerID", guest).alias("user_id"),
        pl.col("StockCode").alias("item_id"),
        pl.lit("purchase").alias("event"),
        pl.col("InvoiceDate").alias("timestamp"),
        (pl.col("UnitPrice") * pl.col("Quantity")).round(2).alias("value"),
        pl.col("Quantity").alias("quantity"),
        pl.concat_str("InvoiceNo", pl.lit("-"), pl.col("line").cast(pl.String).str.zfill(7)).alias("event_id"),
        pl.col("InvoiceNo").alias("session_id"),
        pl.col("CustomerID").is_not_null().alias("known_user"),
    )


ADAPTER: Final = Adapter(
    name="online-retail",
    description="Invoices of a British gift shop: UCI Online Retail or Online Retail II, the .xlsx or a table of it",
    licence="Online Retail, UCI Machine Learning Repository 352 (CC BY 4.0)",
    prepare=prepare,
)
