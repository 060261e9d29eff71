"""Running a task over Parquet files of any size, into Parquet files, one for each row group."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import InvalidRequest
from pipeline.bulk.tasks import Task
from pipeline.progress import ProgressReport
from pipeline.tables import BadDataset

Workers = Literal["process", "ray"]
_ALL_PROCESSORS: Final = 0


@dataclass(frozen=True)
class Bulk:
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
class Piece:
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

    def do(self, piece: Piece) -> None:
        """Do the task to one piece; done once more, it writes the same."""
        with pq.ParquetFile(piece.file) as source:
            batches = source.iter_batches(self._batch, row_groups=[piece.group])
            _write(piece.out, (self._task(pa.Table.from_batches([batch])) for batch in batches))


# Does the pieces of a task: told of how many rows are done after each.
Run = Callable[[Bulk, Sequence[Piece], Callable[[int], None]], None]


def run_bulk(bulk: Bulk, workers: Workers, ray_address: str, report: ProgressReport) -> int:
    """Do the task; returns how many rows came out. Results appear whole, or not at all.

    Args:
        bulk: The task and its files.
        workers: ``process`` for this one, a piece after the other; ``ray`` for Ray Data.
        ray_address: A Ray cluster's address; empty for workers on this machine, one a processor.
        report: Told how far it is.

    Raises:
        BadDataset: The files are missing, cannot be read, or lack a column.
        InvalidRequest: ``out`` exists, or Ray is not installed.
        BadRelease: The release cannot be opened.
        NotReady: The Ray cluster cannot be reached.
    """
    run = _run_of(workers, ray_address)
    with _appearing(bulk.out) as folder:
        pieces = pieces_of(bulk.source, folder)
        total = sum(piece.rows for piece in pieces)
        with report.step(f"{bulk.task.__name__} {bulk.source.name}", total) as step:
            run(bulk, pieces, step.advance)
    return total


def pieces_of(source: Path, folder: Path) -> list[Piece]:
    """Return the row groups of a Parquet file, or of a folder's files in the order of their names.

    Raises:
        BadDataset: There is none, or a file is no Parquet file.
    """
    if not source.exists():
        raise BadDataset(f"{source} does not exist; name a Parquet file, or a folder with Parquet files")
    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    pieces = []
    for number, file in enumerate(files):
        for group, rows in enumerate(_row_groups(file)):
            out = folder.resolve() / f"part-{number:05}-{group:05}.parquet"
            pieces.append(Piece(str(file.resolve()), group, str(out), rows))
    if not pieces:
        raise BadDataset(f"{source} has no row in a Parquet file")
    return pieces


def _row_groups(file: Path) -> list[int]:
    try:
        with pq.ParquetFile(file) as opened:
            groups = (opened.metadata.row_group(number) for number in range(opened.num_row_groups))
            return [group.num_rows for group in groups]
    except (pa.ArrowInvalid, OSError) as error:
        raise BadDataset(f"{file} cannot be read as Parquet: {error}") from error


def _run_of(workers: Workers, ray_address: str) -> Run:
    if workers == "ray":
        from pipeline.bulk.on_ray import RayRun  # noqa: PLC0415 - Ray is an extra of its own

        return RayRun(ray_address)
    if ray_address:
        raise InvalidRequest("a Ray address needs --workers ray")
    return _in_this_process


def _in_this_process(bulk: Bulk, pieces: Sequence[Piece], on_rows: Callable[[int], None]) -> None:
    worker = Worker(bulk.task, bulk.release, bulk.batch)
    for piece in pieces:
        worker.do(piece)
        on_rows(piece.rows)


def _write(file: str, results: Iterator[Any]) -> None:
    writer = None
    try:
        for result in results:
            writer = writer or pq.ParquetWriter(file, result.schema)
            writer.write_table(result)
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Give a folder to write to that becomes ``out`` where the body succeeds, and nothing where it fails."""
    if out.exists():
        raise InvalidRequest(f"{out} exists; name a new folder, or remove it")
    aside = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
