"""What a dataset holds, in a few lines: items, users, events by kind, first and last time."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from pipeline.data.dataset.dataset import Dataset


def summary_table(dataset: Dataset) -> Table:
    """Return the counts that show at a glance whether data was understood."""
    items, events = dataset.items, dataset.events
    table = Table(title="Dataset", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_row("items", f"{items.height:,}")
    for name in ("brand", "category", "description", "price"):
        share = 1 - items[name].null_count() / max(1, items.height)
        table.add_row(f"  with {name}", f"{share:.0%}")
    table.add_row("users", f"{events['user_id'].n_unique():,}")
    table.add_row("events", f"{events.height:,}")
    for kind, count in events["event"].value_counts(sort=True).iter_rows():
        table.add_row(f"  {escape(str(kind))}", f"{count:,}")
    if "timestamp" in events.columns and events.height:
        table.add_row("first event", str(events["timestamp"].min()))
        table.add_row("last event", str(events["timestamp"].max()))
    table.add_row("events that find their item", f"{_share_found(dataset):.1%}")
    chosen = events["item_id"].n_unique()  # a dataset names no item that it lacks
    table.add_row("items with an event", f"{chosen / max(1, items.height):.1%}")
    if dataset.judgements is not None:
        table.add_row("judgements", f"{dataset.judgements.height:,}")
        table.add_row("  queries", f"{dataset.judgements['query'].n_unique():,}")
    return table


def _share_found(dataset: Dataset) -> float:
    report = dataset.report.tables["events"]
    unknown = report.dropped["unknown_item"].rows if "unknown_item" in report.dropped else 0
    return report.rows_out / max(1, report.rows_out + unknown)
