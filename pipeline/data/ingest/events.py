"""Events as a shop writes them, cleaned: kinds of event, times, quantities, refunds."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

import polars as pl

from pipeline.data.ingest.items import MAX_ID_BYTES, note_rounded_ids
from pipeline.data.ingest.row_filter import RowFilter
from pipeline.data.ingest.time_range import leave_out_stray_times
from pipeline.data.ingest.times import DayOrder, read_times
from pipeline.data.ingest.users import MAX_DAILY_EVENTS, leave_out_nobody, limit_days
from pipeline.data.ingest.values import DecimalMark, as_ids, as_text, read_flags, read_numbers

PURCHASE: Final = "purchase"
REFUND: Final = "refund"

# Words of shops and of their analytics for each kind of event; other words stay what they are.
_KINDS: Final = {
    "view": (
        "view views viewed page_view pageview pv view_item product_view product_viewed viewed_product detail click "
        "clicks select_item"
    ),
    "cart": "cart add_to_cart addtocart basket add_to_basket added_to_cart product_added atc",
    "purchase": "purchase purchases purchased buy bought order ordered sale transaction order_completed",
    "rating": "rating rate rated review reviewed",
    "refund": "refund refunded return returned cancel cancelled canceled cancellation",
    "impression": "impression impressions view_item_list shown exposure",
    "favourite": "fav favorite favourite add_to_wishlist wishlist like",
}
# Names that no column of a shop has.
_ROW, _OUTSIDE, _IS_REFUND = "\0row", "\0outside", "\0refund"
_LEAST_QUANTITY: Final = 1e-9  # less is what rounding leaves of fractions
_MAX_NAMED_KINDS: Final = 5
_KIND_OF: Final = {word: kind for kind, words in _KINDS.items() for word in words.split()}


def clean_events(
    frame: pl.DataFrame,
    items: pl.DataFrame,
    order: DayOrder = "auto",
    mark: DecimalMark = "auto",
    now: datetime | None = None,
    max_daily_events: int = MAX_DAILY_EVENTS,
    nobody: Collection[str] | None = None,
) -> RowFilter:
    """Return the usable events of a table with our column names; rows left out and cells emptied are counted.

    A refund, and a purchase of a quantity below zero, takes back the latest purchase before it by the same user of the
    same item; neither counts. Views and other kinds need no quantity.

    Args:
        frame: At least `user_id`, `item_id` and `event`, of any type.
        items: The cleaned items.
        order: Which of day and month comes first.
        mark: The decimal mark of values and quantities.
        now: The present; events after the end of next year are left out.
        max_daily_events: How many events of one kind a user has on one day at most. Bots and tills have more: the
            latest count, the others are left out.
        nobody: Ids of users who are no person, such as guest; None finds them.
    """
    events, columns = RowFilter(frame), frame.columns
    del frame  # each column as it was written is forgotten as soon as it is read
    for name in ("user_id", "item_id", "event_id", "session_id"):
        if name in columns:
            written = events.frame[name]
            if name == "user_id":
                note_rounded_ids(events, written, "users")
            events.replace(name, _known_ids(written, items) if name == "item_id" else as_ids(written))
    events.replace("event", _kinds(as_text(events.frame["event"])))
    if "timestamp" in columns:
        _read_times(events, order, now)
    _read_numbers_and_flags(events, mark)
    leave_out_nobody(events, nobody)
    events.drop("no_user", "No user is named.", pl.col("user_id").is_null())
    events.drop(
        "incomplete",
        "The item or the kind of event is missing.",
        pl.any_horizontal(pl.col("item_id", "event").is_null()),
    )
    why = f"A user's id has more than {MAX_ID_BYTES} bytes, which no caller could send."
    events.drop("long_id", why, pl.col("user_id").str.len_bytes() > MAX_ID_BYTES)
    events.drop(
        "unknown_item", "The item is not among the items.", ~pl.col("item_id").is_in(items["item_id"].implode())
    )
    if "event_id" in columns:
        again = ~pl.col("event_id").is_first_distinct() & pl.col("event_id").is_not_null()
        events.drop("repeated_id", "An event with this id came before.", again)
    events.drop("repeated_row", "An event equal in every column came before.", pl.lit(_repeated(events.frame)))
    _take_back(events)
    _name_unknown_kinds(events)
    if "timestamp" in columns:
        limit_days(events, max_daily_events)
    return events


def _repeated(frame: pl.DataFrame) -> pl.Series:
    """Return which rows equal an earlier one; only rows whose hash occurs twice are compared, which saves memory."""
    twice = frame.hash_rows().is_duplicated()
    if not twice.any():
        return twice
    again = ~frame.filter(twice).select(pl.struct(pl.all()).is_first_distinct()).to_series()
    return twice.scatter(twice.arg_true(), again)


def _read_numbers_and_flags(events: RowFilter, mark: DecimalMark) -> None:
    for name in ("value", "quantity"):
        if name in events.frame.columns:
            read = read_numbers(events.frame[name], mark)
            events.read(name, read.values, read.unreadable)
    if "position" in events.frame.columns:
        read = read_numbers(events.frame["position"])
        whole = read.values.cast(pl.Int64, strict=False)
        events.read("position", whole, read.unreadable)
        events.drop("no_position", "The position is missing or no number.", pl.col("position").is_null())
    if "known_user" in events.frame.columns:
        flags = read_flags(events.frame["known_user"])
        events.read("known_user", flags.values, flags.unreadable)
    for column in events.frame.iter_columns():
        if column.dtype == pl.Null:
            events.replace(column.name, column.cast(pl.String))
        elif column.dtype.is_temporal() and column.name != "timestamp":
            events.replace(column.name, column.dt.to_string())


def _name_unknown_kinds(events: RowFilter) -> None:
    """Note kinds of event that are no word for a known kind: what could be a purchase counts as none."""
    unknown = events.frame.filter(~pl.col("event").is_in(list(_KINDS))).group_by("event").len("rows")
    if unknown.is_empty():
        return
    first = unknown.sort("rows", "event", descending=[True, False]).head(_MAX_NAMED_KINDS)
    named = ", ".join(f"{kind!r} ({rows:,} rows)" for kind, rows in first.iter_rows())
    events.note(f"{unknown.height:,} kinds of event have no known meaning and count as no purchase: {named}.")


def _known_ids(column: pl.Series, items: pl.DataFrame) -> pl.Series:
    """Return ids of items as the items have them: 7.0 is 7 if no item is 7.0 and one is 7."""
    written = as_text(column)
    whole = written.str.strip_suffix(".0")
    known = items["item_id"].implode()
    meant = (~written.is_in(known) & whole.is_in(known)).fill_null(value=False)
    return written.zip_with(~meant, whole)


def _kinds(column: pl.Series) -> pl.Series:
    word = column.str.to_lowercase().str.replace_all(r"[\s\-]+", "_")
    return word.replace(_KIND_OF)


def _read_times(events: RowFilter, order: DayOrder, now: datetime | None) -> None:
    read = read_times(events.frame["timestamp"], order, now)
    events.mark("timestamp", events.frame["timestamp"], read.unreadable | read.outside)
    events.frame = events.frame.with_columns(read.times.alias("timestamp"), read.outside.alias(_OUTSIDE))
    why = "The time lies before 1971 or after the end of next year."
    events.drop("impossible_timestamp", why, pl.col(_OUTSIDE))
    events.frame = events.frame.drop(_OUTSIDE)
    events.drop("no_timestamp", "The timestamp is missing or unreadable.", pl.col("timestamp").is_null())
    leave_out_stray_times(events, now)
    if read.rounded:
        events.note(
            f"{read.rounded:,} times are numbers that a spreadsheet has rounded, such as 1.7E+09; export them as text."
        )
    if read.order is not None and not read.proven:
        events.note(f"Cells do not settle whether day or month comes first (set day_order): read as {read.order}.")


def _take_back(events: RowFilter) -> None:
    """Leave out refunds and the purchases that they take back."""
    quantity = pl.col("quantity") if "quantity" in events.frame.columns else pl.lit(None, dtype=pl.Float64)
    kind = pl.col("event")
    refund = (kind == REFUND) | ((kind == PURCHASE) & (quantity < 0))
    frame = events.frame.with_row_index(_ROW)
    marked = frame.select(refund.fill_null(value=False)).to_series()
    if marked.any():
        purchases = frame.filter(~marked & (kind == PURCHASE) & (quantity > 0).fill_null(value=True))
        taken = _taken(purchases, frame.filter(marked))
        events.frame = frame
        events.drop("refund", "A refund takes a purchase back.", refund)
        events.drop("refunded_purchase", "A later refund takes this purchase back.", pl.col(_ROW).is_in(taken))
        events.frame = events.frame.drop(_ROW)
    if "quantity" in events.frame.columns:
        why = "A purchase of a quantity of zero is none."
        events.drop("no_quantity", why, (pl.col("event") == PURCHASE) & (pl.col("quantity") <= 0))


def _taken(purchases: pl.DataFrame, refunds: pl.DataFrame) -> list[int]:
    """Return the rows of purchases that refunds take back: of each, the latest before it that covers its quantity."""
    order: list[str] = [name for name in ("timestamp", "position") if name in purchases.columns] or [_ROW]
    pairs = refunds.select("user_id", "item_id").unique()
    open_: dict[tuple[str, str], list[list[float]]] = {}
    both = pl.concat(
        [frame.with_columns(pl.lit(back).alias(_IS_REFUND)) for frame, back in ((purchases, False), (refunds, True))]
    )
    both = both.join(pairs, on=["user_id", "item_id"], how="semi").sort([*order, _IS_REFUND])
    quantities = both["quantity"].abs().fill_null(1.0) if "quantity" in both.columns else pl.Series([1.0] * len(both))
    taken = []
    for row, user, item, back, count in zip(
        both[_ROW], both["user_id"], both["item_id"], both[_IS_REFUND], quantities, strict=True
    ):
        known = open_.setdefault((user, item), [])
        if not back:
            known.append([row, count or 1.0])
            continue
        left = count or 1.0
        while left >= _LEAST_QUANTITY and known:
            known[-1][1], left = known[-1][1] - left, left - known[-1][1]
            if known[-1][1] < _LEAST_QUANTITY:
                taken.append(int(known.pop()[0]))
    return taken
