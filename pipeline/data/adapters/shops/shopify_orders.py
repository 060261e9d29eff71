"""Lines of Shopify's export of orders as purchases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from pipeline.data.adapters.shops.exports import first_of, look_up
from pipeline.data.ingest.row_filter import RowFilter
from pipeline.data.ingest.values import read_numbers

# Columns of an order, which its further lines leave empty.
_OF_ORDER: Final = {
    "customer": ("customer id", "customer: id"),
    "email": ("email", "customer: email"),
    "phone": ("phone", "billing phone"),
    "at": ("created at", "paid at", "processed at"),
    "paid": ("financial status", "payment: status"),
    "cancelled": ("cancelled at",),
    "refunded": ("refunded amount",),
    "total": ("total",),
}
# Shopify's own export, and that of Matrixify, whose rows have a type.
_OF_LINE: Final = {
    "sku": ("lineitem sku", "line: sku"),
    "title": ("lineitem name", "line: title"),
    "price": ("lineitem price", "line: price"),
    "quantity": ("lineitem quantity", "line: quantity"),
    "kind": ("line: type",),
    "taken_back": (
        "lineitem refunded quantity",
        "lineitem returned quantity",
        "refunded quantity",
        "returned quantity",
    ),
    "left": ("lineitem current quantity", "current quantity", "net quantity"),
}
_LINE, _REFUND = "line item", "refund line"


def read_orders(table: pl.DataFrame, finder: Mapping[str, pl.DataFrame]) -> RowFilter:
    """Return purchases in our columns, as yet uncleaned.

    Orders that were cancelled, voided or refunded in full are left out. Of an order that was refunded in part, the
    refunded lines are left out if the export tells them: by a column of refunded or remaining quantities, or by rows of
    the type `Refund Line`. If it does not, every line stays.

    Args:
        table: The rows of the export, with headings in lower case.
        finder: Items by `sku` and by `name`, each with the columns `key` and `item_id`.
    """
    lines = RowFilter(_lines(table))
    unnamed = pl.col("title").is_null() & pl.col("sku").is_null()
    kind = pl.col("kind").str.to_lowercase()
    lines.drop("no_line_item", "The row names no product.", unnamed | ~kind.is_in([_LINE, _REFUND]))
    status = pl.col("paid").str.to_lowercase()
    cancelled = pl.col("cancelled").is_not_null() | status.is_in(["voided", "expired"])
    lines.drop("cancelled_order", "The order was cancelled, voided or has expired.", cancelled)
    numbers = {name: read_numbers(lines.frame[name]).values for name in ("refunded", "total")}
    whole = (numbers["refunded"] > 0) & (numbers["refunded"] >= numbers["total"])
    lines.frame = lines.frame.with_columns(whole.alias("whole"))
    lines.drop("refunded_order", "The order was refunded.", (status == "refunded") | pl.col("whole"))
    refunds = lines.drop("refund_line", "The row takes another line of its order back.", kind == _REFUND)
    lines.frame = _less_refunds(lines.frame, refunds)
    told = (pl.col("refunded_units") > 0).any().over("order")
    some = lines.frame.filter((status == "partially_refunded") & ~told)["order"].n_unique()
    if some:
        lines.note(f"{some:,} orders were refunded in part; the export does not name the lines, so all of them count.")
    lines.drop("refunded_line", "The line was refunded.", (pl.col("refunded_units") > 0) & (pl.col("units") <= 0))
    by_sku = look_up(lines.frame["sku"], finder["sku"])
    title = lines.frame["title"]
    by_name = look_up(title, finder["name"])
    # A variant that was renamed since: the name without its last part.
    by_product = look_up(title.str.replace(r"\s+-\s+[^-]*$", ""), finder["name"])
    found = lines.frame.select(pl.coalesce(by_sku.alias("a"), by_name.alias("b"), by_product.alias("c"))).to_series()
    lines.frame = lines.frame.with_columns(found.alias("item_id"))
    named = int((by_sku.is_null() & found.is_not_null()).sum())
    if named:
        lines.note(f"{named:,} lines of orders have no SKU of the products and found their item by name.")
    lines.drop("unknown_item", "The item is not among the items.", pl.col("item_id").is_null())
    lines.frame = _events(lines.frame)
    return lines


def _lines(table: pl.DataFrame) -> pl.DataFrame:
    frame = table.select(
        first_of(table, "name", "order name").forward_fill().alias("order"),
        *(first_of(table, *theirs).alias(ours) for ours, theirs in {**_OF_ORDER, **_OF_LINE}.items()),
    )
    return frame.with_columns(
        *(pl.col(name).drop_nulls().first().over("order") for name in _OF_ORDER),
        pl.col("sku").str.strip_prefix("'"),
    )


def _less_refunds(lines: pl.DataFrame, refunds: pl.DataFrame) -> pl.DataFrame:
    """Return lines with `units`, what was bought and not given back, and `refunded_units`."""
    order = ["order", "line"]
    named = pl.coalesce("sku", "title").alias("line")
    back = refunds.with_columns(named, read_numbers(refunds["quantity"]).values.abs().fill_null(1.0).alias("back"))
    whole = lines.with_columns(named, read_numbers(lines["quantity"]).values.alias("bought")).join(
        back.group_by(order).agg(pl.col("back").sum()), on=order, how="left", maintain_order="left"
    )
    before = pl.col("bought").cum_sum().over(order) - pl.col("bought")  # lines of one product share what came back
    of_rows = (pl.col("back").fill_null(0.0) - before).clip(lower_bound=0)
    of_column = read_numbers(lines["taken_back"]).values.abs()
    of_rest = whole["bought"] - read_numbers(lines["left"]).values
    refunded = pl.max_horizontal(of_rows, pl.lit(of_column), pl.lit(of_rest)).fill_null(0.0)
    counted = whole.with_columns(pl.min_horizontal(refunded, "bought").fill_null(0.0).alias("refunded_units"))
    return counted.with_columns((pl.col("bought") - pl.col("refunded_units")).alias("units")).drop(
        "line", "bought", "back"
    )


def _events(lines: pl.DataFrame) -> pl.DataFrame:
    amount = read_numbers(lines["price"]).values * lines["units"]
    user = pl.coalesce("customer", pl.col("email").str.to_lowercase(), "phone")
    line = pl.coalesce("sku", "title")
    some = pl.when(pl.col("refunded_units") > 0).then(pl.col("units").cast(pl.String))
    return lines.select(
        pl.coalesce(user, pl.concat_str(pl.lit("guest-"), "order")).alias("user_id"),
        "item_id",
        pl.lit("purchase").alias("event"),
        pl.col("at").alias("timestamp"),
        amount.round(2).alias("value"),
        some.otherwise("quantity").alias("quantity"),
        pl.concat_str("order", pl.lit(" "), line).alias("event_id"),
        pl.col("order").alias("session_id"),
        user.is_not_null().alias("known_user"),
    )
