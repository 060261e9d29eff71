"""The interface of a data adapter: name, licence, location of the data, and conversion to a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.dataset.dataset import Dataset

# Called with the name of each step as it begins.
Progress = Callable[[str], None]


def _nowhere() -> Path | None:
    return None


@dataclass(frozen=True)
class Adapter:
    """Converts one kind of raw shop data to a dataset.

    Attributes:
        name: Name on the command line.
        description: One line about the data.
        licence: The terms under which the data may be used.
        prepare: Makes a dataset from the raw data at a path; raises BadDataset.
        default_data: Finds the raw data if the user names none; None if it is not on this machine.
    """

    name: str
    description: str
    licence: str
    prepare: Callable[[Path, Progress], Dataset]
    default_data: Callable[[], Path | None] = _nowhere
