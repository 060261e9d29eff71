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

# Processes the chunks of a job, and calls its last argument with the rows of each finished chunk.
Run = Callable[[BulkJob, Sequence[Chunk], Callable[[int], None]], None]


def run_bulk(job: BulkJob, workers: Workers, ray_address: str, report: ProgressReport) -> int:
    """Run a job and return its number of rows. The results appear complete or not at all.

    Args:
        job: The task and its files.
        workers: ``process`` for this process, one chunk at a time; ``ray`` for Ray Data.
        ray_address: A Ray cluster's address; empty for one worker per processor of this machine.
        report: Shows progress.

    Raises:
        BadDataset: The files are missing, cannot be read, or lack a column.
        InvalidRequest: ``job.out`` exists, or Ray is not installed.
        BadRelease: The release cannot be opened.
        NotReady: The Ray cluster cannot be reached.
    """
    run = _runner(workers, ray_address)
    with _complete_folder(job.out) as folder:
        chunks = row_group_chunks(job.source, folder)
        total = sum(chunk.rows for chunk in chunks)
        with report.step(f"{job.task.__name__} {job.source.name}", total) as step:
            run(job, chunks, step.advance)
    return total


def row_group_chunks(source: Path, folder: Path) -> list[Chunk]:
    """Return the row groups of a Parquet file, or of a folder's files in the order of their names.

    Raises:
        BadDataset: There is none, or a file is no Parquet file.
    """
    if not source.exists():
        raise BadDataset(f"{source} does not exist; name a Parquet file, or a folder with Parquet files")
    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    chunks = []
    for number, file in enumerate(files):
        for group, rows in enumerate(_row_groups(file)):
            out = folder.resolve() / f"part-{number:05}-{group:05}.parquet"
            chunks.append(Chunk(str(file.resolve()), group, str(out), rows))
    if not chunks:
        raise BadDataset(f"{source} has no row in a Parquet file")
    return chunks


def _row_groups(file: Path) -> list[int]:
    try:
        with pq.ParquetFile(file) as opened:
            groups = (opened.metadata.row_group(number) for number in range(opened.num_row_groups))
            return [group.num_rows for group in groups]
    except (pa.ArrowInvalid, OSError) as error:
        raise BadDataset(f"{file} cannot be read as Parquet: {error}") from error


def _runner(workers: Workers, ray_address: str) -> Run:
    if workers == "ray":
        from pipeline.bulk.ray_runner import RayRun  # noqa: PLC0415 - Ray is an extra of its own

        return RayRun(ray_address)
    if ray_address:
        raise InvalidRequest("a Ray address needs --workers ray")
    return _in_this_process


def _in_this_process(job: BulkJob, chunks: Sequence[Chunk], on_rows: Callable[[int], None]) -> None:
    worker = Worker(job.task, job.release, job.batch)
    for chunk in chunks:
        worker.process(chunk)
        on_rows(chunk.rows)


@contextmanager
def _complete_folder(out: Path) -> Iterator[Path]:
    """Yield a folder that becomes ``out`` if the body succeeds, and is removed if it fails."""
    if out.exists():
        raise InvalidRequest(f"{out} exists; name a new folder, or remove it")
    unfinished = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
