"""The tables of behaviour of a staged release."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.tables.table_writer import TableWriter


def table_writer(context: BuildContext, catalogue: Catalogue, before: datetime | None = None) -> TableWriter:
    """Return what counts events into the staged tables.

    Args:
        context: The build, with staged vectors.
        catalogue: The items.
        before: Events before this time choose the items of tables of all pairs; None for all events.
    """
    events = context.dataset.events
    known = events if before is None else events.filter(pl.col("timestamp") < before)
    return TableWriter(context.staging.path, context.settings, catalogue, context.report, known)
