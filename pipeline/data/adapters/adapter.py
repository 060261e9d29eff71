"""What a source is: a name, where its data lies, the terms of its use, and how it becomes a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.dataset.dataset import Dataset

# Told the name of each step as it begins.
Progress = Callable[[str], None]


def _nowhere() -> Path | None:
    return None


@dataclass(frozen=True)
class Adapter:
    """One kind of raw shop data.

    Attributes:
        name: What the command line calls it.
        description: One line on what it is.
        licence: The terms under which the data may be used.
        prepare: Makes a dataset of the raw data at a path; raises BadDataset.
        default_data: Finds the raw data where the user names none; None where it is not on this machine.
    """

    name: str
    description: str
    licence: str
    prepare: Callable[[Path, Progress], Dataset]
    default_data: Callable[[], Path | None] = _nowhere
