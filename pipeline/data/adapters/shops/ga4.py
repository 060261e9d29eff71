"""Google Analytics 4: the e-commerce events of its export to BigQuery, nested (JSON Lines, Parquet) or flat (CSV).

Columns: https://support.google.com/analytics/answer/7029846
Events and their items: https://developers.google.com/analytics/devguides/collection/ga4/reference/events

The export has no catalogue: items are collected from the events, each with what the latest event that says anything
says. An item without an id goes by its name. The user is the `user_id`, or else the one that the device
(`user_pseudo_id`) had if it had only one, or else the device.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.adapters.shops.exports import Exports
from pipeline.data.adapters.shops.ga4_files import CATEGORIES, read_events
from pipeline.data.adapters.shops.shop_dataset import LICENCE, shop_dataset
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.json_lines import READABLE
from pipeline.data.ingest.events import PURCHASE, REFUND
from pipeline.data.ingest.row_filter import RowFilter
from pipeline.data.ingest.times import read_times
from pipeline.data.ingest.values import as_text, read_numbers

_NOTHING: Final = ("(not set)", "(none)", "(not provided)", "(other)")
# Events that name items and say nothing about them that other events do not.
_NOT_COUNTED: Final = (
    "remove_from_cart",
    "view_cart",
    "begin_checkout",
    "add_shipping_info",
    "add_payment_info",
    "view_promotion",
    "select_promotion",
)


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset of an export, a file or a folder of them.

    Raises:
        BadDataset: There is no export of events, it names no items, or no row is usable.
    """
    progress("reading events")
    raw, notes = read_events(data)
    text = raw.select(as_text(column) for column in raw.drop(READABLE).iter_columns())
    frame = text.with_columns(
        pl.when(~pl.all().str.to_lowercase().is_in(_NOTHING)).then(pl.all()), raw[READABLE]
    ).with_columns(pl.coalesce("item_id", "item_name").alias("item_id"))
    if frame["item_id"].is_null().all():
        raise BadDataset(f"{data}: no event names an item; export the events of e-commerce with their items")
    frame = frame.with_columns(read_times(frame["event_timestamp"]).times.alias("at"))
    progress("collecting items")
    items = RowFilter(_items(frame))
    progress("reading kinds of event")
    events = RowFilter(frame)
    _filter(events)
    events.frame = _events(events.frame)
    return shop_dataset(ADAPTER.name, Exports(data, notes=notes), items, events, codes=("variant",))


def _items(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the items that events name, in the order of their ids, with what the latest event says of each."""
    path = pl.concat_str(CATEGORIES, separator=" > ", ignore_nulls=True).replace("", None)
    named = frame.filter(pl.col("item_id").is_not_null()).select(
        "item_id",
        "at",
        pl.col("item_name").alias("title"),
        pl.col("item_brand").alias("brand"),
        path.alias("category"),
        "price",
        pl.col("item_variant").alias("variant"),
    )
    latest = [pl.col(name).drop_nulls().last() for name in ("title", "brand", "category", "price", "variant")]
    return named.sort("at", nulls_last=False, maintain_order=True).group_by("item_id").agg(latest).sort("item_id")


def _filter(events: RowFilter) -> None:
    events.drop("unreadable", "The line is no JSON object.", ~pl.col(READABLE))
    kind = pl.col("event_name").str.to_lowercase()
    whole_refund = (kind == REFUND) & pl.col("item_id").is_null() & pl.col("transaction").is_not_null()
    events.drop("no_item", "The event names no item.", pl.col("item_id").is_null() & ~whole_refund)
    why = f"Events of these kinds add nothing about an item: {', '.join(_NOT_COUNTED)}."
    events.drop("not_counted", why, kind.is_in(_NOT_COUNTED))
    transaction = pl.when(kind == PURCHASE).then("transaction")
    again = transaction.is_not_null() & (pl.col("at") > pl.col("at").min().over(transaction, pl.col("event_name")))
    why = "A purchase of this transaction was sent before: its page was loaded again."
    events.drop("repeated_transaction", why, again)
    refunds = events.drop("refund", "A refund takes a purchase back.", whole_refund)
    taken = (kind == PURCHASE) & pl.col("transaction").is_in(refunds["transaction"].implode())
    events.drop("refunded_purchase", "A later refund takes this purchase back.", taken)


def _events(frame: pl.DataFrame) -> pl.DataFrame:
    numbers = {name: read_numbers(frame[name]).values for name in ("price", "quantity")}
    paid = numbers["price"] * numbers["quantity"].fill_null(1.0)
    single = pl.col("user_id").drop_nulls().n_unique() == 1
    of_device = frame.group_by("user_pseudo_id").agg(
        pl.when(single).then(pl.col("user_id").drop_nulls().first()).alias("known")
    )
    joined = frame.join(of_device, on="user_pseudo_id", how="left", maintain_order="left", nulls_equal=False)
    user = pl.coalesce("user_id", "known", "user_pseudo_id")
    session = pl.coalesce("session", "event_timestamp")
    return joined.select(
        user.alias("user_id"),
        "item_id",
        pl.col("event_name").alias("event"),
        pl.col("event_timestamp").alias("timestamp"),
        pl.when(pl.col("event_name").str.to_lowercase() == PURCHASE).then(paid).alias("value"),
        "quantity",
        pl.concat_str(pl.coalesce("user_pseudo_id", "user_id"), pl.lit("."), session).alias("session_id"),
    )


ADAPTER: Final = Adapter(
    name="ga4",
    description="Google Analytics 4: the e-commerce events of its export to BigQuery, nested or flat",
    licence=LICENCE,
    prepare=prepare,
)
