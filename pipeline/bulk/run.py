"""Running a task over Parquet files of any size, into Parquet files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from common.errors import InvalidRequest
from pipeline.bulk.tasks import Task
from pipeline.progress import ProgressReport, Step
from pipeline.tables import BadDataset

Workers = Literal["process", "ray"]
_READ_AHEAD: Final = 2


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


def run_bulk(bulk: Bulk, workers: Workers, ray_address: str, report: ProgressReport) -> int:
    """Do the task; returns how many rows came out. Results appear whole, or not at all.

    Args:
        bulk: The task and its files.
        workers: ``process`` for this one, a batch at a time in the order of the rows; ``ray`` for Ray Data.
        ray_address: A Ray cluster's address; empty for workers on this machine, one a processor.
        report: Told how far it is.

    Raises:
        BadDataset: The files are missing, cannot be read, or lack a column.
        InvalidRequest: ``out`` exists, or Ray is not installed.
        BadRelease: The release cannot be opened.
    """
    if ray_address and workers != "ray":
        raise InvalidRequest("a Ray address needs --workers ray")
    table = _open(bulk.source)
    with _appearing(bulk.out) as folder:
        return _runner(workers)(bulk, table, folder, ray_address, report)


_Runner = Callable[[Bulk, Any, Path, str, ProgressReport], int]


def _runner(workers: Workers) -> _Runner:
    if workers == "process":
        return _in_this_process
    from pipeline.bulk.on_ray import run_on_ray  # noqa: PLC0415 - Ray is an extra of its own

    return run_on_ray


def _in_this_process(bulk: Bulk, table: Any, folder: Path, _: str, report: ProgressReport) -> int:
    task = bulk.task(bulk.release)
    total = table.count_rows()
    with report.step(_title(bulk), total) as step:
        _write(folder / "part-00000.parquet", (task(batch) for batch in _batches(table, bulk.batch)), step)
    return int(total)


def _title(bulk: Bulk) -> str:
    return f"{bulk.task.__name__} {bulk.source.name}"


def _open(source: Path) -> Any:
    if not source.exists():
        raise BadDataset(f"{source} does not exist; name a Parquet file, or a folder with Parquet files")
    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    if not files:
        raise BadDataset(f"{source} has no Parquet file")
    try:
        return ds.dataset([str(file) for file in files], format="parquet")
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise BadDataset(f"{source} cannot be read as Parquet: {error}") from error


def _batches(table: Any, rows: int) -> Iterator[pa.Table]:
    """Yield tables of at most so many rows, in order, reading little ahead."""
    for batch in table.to_batches(batch_size=rows, batch_readahead=_READ_AHEAD, fragment_readahead=1):
        if batch.num_rows:
            yield pa.Table.from_batches([batch])


def _write(file: Path, results: Iterator[pa.Table], step: Step) -> None:
    writer = None
    try:
        for result in results:
            writer = writer or pq.ParquetWriter(file, result.schema)
            writer.write_table(result)
            step.advance(result.num_rows)
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
