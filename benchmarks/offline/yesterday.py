"""Complete Journey without its last day, and a release of it, for the benchmarks of updates and freshness."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

import polars as pl

from common.release.store import Release
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.tables.replay import end_of

SOURCE: Final = "complete-journey"
STORE: Final = Path("releases/complete-journey-yesterday")
# A shorter build than by default, with a sixth of the cross-encoder's lists: an update's share of it is the larger.
SETTINGS: Final = BuildSettings(cross_encoder_lists=60)


def build_yesterday(whole: Dataset, report: ProgressReport) -> Release:
    """Build or reuse a release of everything before the last day: neither its events nor the items first sold then."""
    return build(without_last_day(whole), STORE, SETTINGS, report, force=True)


def without_last_day(whole: Dataset) -> Dataset:
    """Return a dataset without the events of its last 24 hours, and without the items that were first bought then."""
    end = end_of(whole.events)
    if end is None:
        raise ValueError("the events have no times")
    yesterday = end - timedelta(days=1)
    events = whole.events.filter(pl.col("timestamp") < yesterday)
    today = whole.events.filter(pl.col("timestamp") >= yesterday)
    first_sold = today.join(events, on="item_id", how="anti").select("item_id").unique()
    return Dataset(whole.items.join(first_sold, on="item_id", how="anti"), events, None, whole.report)
