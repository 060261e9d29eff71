"""Adapters from raw shop data to a dataset, one module a source."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from common.errors import NotFound
from pipeline.data.adapters import (
    amazon_office,
    amazon_reviews,
    complete_journey,
    esci,
    home_depot,
    movielens,
    online_retail,
    own_tables,
    retailrocket,
    wands,
)
from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

ADAPTERS: Final[dict[str, Adapter]] = {
    source.name: source
    for source in (
        amazon_office.ADAPTER,
        amazon_reviews.ADAPTER_2018,
        amazon_reviews.ADAPTER_2023,
        complete_journey.ADAPTER,
        esci.ADAPTER,
        home_depot.ADAPTER,
        movielens.ADAPTER,
        online_retail.ADAPTER,
        retailrocket.ADAPTER,
        own_tables.ADAPTER,
        wands.ADAPTER,
    )
}


def _silently(step: str) -> None:
    """Say nothing of a step."""


def find_adapter(name: str) -> Adapter:
    """Return the source called ``name``; raises NotFound listing the known ones."""
    if name not in ADAPTERS:
        raise NotFound(f"there is no source {name!r}; the known ones are {', '.join(sorted(ADAPTERS))}")
    return ADAPTERS[name]


def prepare(source: str, data: Path | None = None, progress: Progress = _silently) -> Dataset:
    """Make a dataset of raw shop data.

    Args:
        source: The source's name, a key of SOURCES.
        data: Where the raw data lies; by default where the source finds it.
        progress: Told the name of each step as it begins.

    Raises:
        NotFound: No such source.
        BadDataset: The raw data is missing or cannot be used.
    """
    known = find_adapter(source)
    place = data or known.default_data()
    if place is None:
        raise BadDataset(f"the source {source!r} ({known.description}) finds no data; say where it lies with --data")
    return known.prepare(place, progress)
