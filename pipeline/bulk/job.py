"""A bulk job: its files, its chunks, and the worker that processes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.bulk.tasks import Task

Workers = Literal["process", "ray"]
_ALL_PROCESSORS: Final = 0


@dataclass(frozen=True)
class BulkJob:
    """A task over files.

    Attributes:
        task: Processes each batch of rows.
        release: Path or URL of the release that it uses.
        source: A Parquet file, or a folder with Parquet files.
        out: Folder for the results; must not exist yet.
        batch: Rows per batch.
    """

    task: type[Task]
    release: str
    source: Path
    out: Path
    batch: int = 1_024


@dataclass(frozen=True)
class Chunk:
    """A row group of a file, and the file that a worker writes for it.

    Attributes:
        file: The file to read.
        group: Number of its row group.
        out: The file to write; the order of the names is the order of the rows.
        rows: Rows of the group.
    """

    file: str
    group: int
    out: str
    rows: int


class Worker:
    """Runs a task over chunks, one batch of rows at a time.

    Args:
        task: The task.
        release: Path or URL of the release.
        batch: Rows per batch.
        threads: Threads of a model; 0 for one per processor.
    """

    def __init__(self, task: type[Task], release: str, batch: int, threads: int = _ALL_PROCESSORS) -> None:
        self._task = task(release, threads)
        self._batch = batch

    def process(self, chunk: Chunk) -> None:
        """Process one chunk; a second run writes the same file."""
        with pq.ParquetFile(chunk.file) as source:
            batches = source.iter_batches(self._batch, row_groups=[chunk.group])
            _write(chunk.out, (self._task(pa.Table.from_batches([batch])) for batch in batches))


def _write(file: str, results: Iterator[Any]) -> None:
    writer = None
    try:
        for result in results:
            writer = writer or pq.ParquetWriter(file, result.schema)
            writer.write_table(result)
    finally:
        if writer is not None:
            writer.close()
