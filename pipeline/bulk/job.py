"""A bulk job: its pieces and who works on them."""

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
        task: What is done to each batch of rows.
        release: The release that it is done with.
        source: A Parquet file, or a folder with Parquet files.
        out: Folder for the results; must not exist yet.
        batch: Rows at a time.
    """

    task: type[Task]
    release: str
    source: Path
    out: Path
    batch: int = 1_024


@dataclass(frozen=True)
class Chunk:
    """A row group of a file, which a worker reads, and the file that it writes.

    Attributes:
        file: The file read.
        group: Which of its row groups.
        out: The file written; in the order of their names, files have the rows' order.
        rows: Rows of the group.
    """

    file: str
    group: int
    out: str
    rows: int


class Worker:
    """Does a task to pieces, one after the other, a batch of rows at a time.

    Args:
        task: The task.
        release: Where the release lies.
        batch: Rows at a time.
        threads: Threads of a model; 0 for as many as there are processors.
    """

    def __init__(self, task: type[Task], release: str, batch: int, threads: int = _ALL_PROCESSORS) -> None:
        self._task = task(release, threads)
        self._batch = batch

    def do(self, piece: Chunk) -> None:
        """Do the task to one piece; done once more, it writes the same."""
        with pq.ParquetFile(piece.file) as source:
            batches = source.iter_batches(self._batch, row_groups=[piece.group])
            _write(piece.out, (self._task(pa.Table.from_batches([batch])) for batch in batches))


def _write(file: str, results: Iterator[Any]) -> None:
    writer = None
    try:
        for result in results:
            writer = writer or pq.ParquetWriter(file, result.schema)
            writer.write_table(result)
    finally:
        if writer is not None:
            writer.close()
