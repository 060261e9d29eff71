"""Running a task over Parquet files of any size, into Parquet files, one for each row group."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import InvalidRequest
from pipeline.bulk.job import BulkJob, Chunk, Worker, Workers
from pipeline.data.dataset.schema import BadDataset
from pipeline.progress import ProgressReport

# Does the pieces of a task: told of how many rows are done after each.
Run = Callable[[BulkJob, Sequence[Chunk], Callable[[int], None]], None]


def run_bulk(bulk: BulkJob, workers: Workers, ray_address: str, report: ProgressReport) -> int:
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


def pieces_of(source: Path, folder: Path) -> list[Chunk]:
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
            pieces.append(Chunk(str(file.resolve()), group, str(out), rows))
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
        from pipeline.bulk.ray_runner import RayRun  # noqa: PLC0415 - Ray is an extra of its own

        return RayRun(ray_address)
    if ray_address:
        raise InvalidRequest("a Ray address needs --workers ray")
    return _in_this_process


def _in_this_process(bulk: BulkJob, pieces: Sequence[Chunk], on_rows: Callable[[int], None]) -> None:
    worker = Worker(bulk.task, bulk.release, bulk.batch)
    for piece in pieces:
        worker.do(piece)
        on_rows(piece.rows)


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
