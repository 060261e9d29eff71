"""Adapters from raw shop data to a dataset, one module for each kind of data."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from common.errors import NotFound
from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.adapters.datasets import DATASETS
from pipeline.data.adapters.gateway import events_log
from pipeline.data.adapters.shops import SHOPS
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

ADAPTERS: Final[dict[str, Adapter]] = {adapter.name: adapter for adapter in (*DATASETS, *SHOPS, events_log.ADAPTER)}


def _silently(step: str) -> None:
    """Ignore a step."""


def find_adapter(name: str) -> Adapter:
    """Return the adapter called ``name``; raises NotFound listing the known ones."""
    if name not in ADAPTERS:
        raise NotFound(f"there is no data adapter {name!r}; the known ones are {', '.join(sorted(ADAPTERS))}")
    return ADAPTERS[name]


def prepare(adapter: str, data: Path | None = None, progress: Progress = _silently) -> Dataset:
    """Make a dataset from raw shop data.

    Args:
        adapter: The adapter's name, a key of `ADAPTERS`.
        data: Path of the raw data; by default where the adapter finds it.
        progress: Called with the name of each step as it begins.

    Raises:
        NotFound: There is no such adapter.
        BadDataset: The raw data is missing or cannot be used.
    """
    known = find_adapter(adapter)
    path = data or known.default_data()
    if path is None:
        raise BadDataset(f"the adapter {adapter!r} ({known.description}) finds no data; name it with --data")
    return known.prepare(path, progress)
