"""The commands over tables of any size: embed and score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.bulk.job import BulkJob, Workers
from pipeline.bulk.run import run_bulk
from pipeline.commands.console import CONSOLE
from pipeline.progress import ProgressReport

ReleaseLocation = Annotated[str, typer.Option("--release", help="Release or store; a path or URL.")]
Results = Annotated[Path, typer.Option(help="Folder for the results, as Parquet files; must not exist yet.")]
WorkersOption = Annotated[
    Workers,
    typer.Option("--workers", help="process: this process. ray: one Ray worker per core, here or on a cluster."),
]
RayAddress = Annotated[str, typer.Option(help="Address of a Ray cluster; by default workers are started here.")]
BatchRows = Annotated[int, typer.Option("--batch", help="Rows per batch.", min=1)]


def embed(
    release: ReleaseLocation,
    items: Annotated[Path, typer.Option(help="Parquet file or folder: item_id, title, brand, category, description.")],
    out: Results,
    workers: WorkersOption = "process",
    ray_address: RayAddress = "",
    batch: BatchRows = 1_024,
) -> None:
    """Embed items with a release's encoder; the table may be larger than memory."""
    from pipeline.bulk.tasks import Embed  # noqa: PLC0415 - torch takes seconds to import, and --help should not

    _run(BulkJob(Embed, release, items, out, batch), workers, ray_address)


def score(
    release: ReleaseLocation,
    pairs: Annotated[
        Path, typer.Option(help="Parquet file or folder: item_id, and optionally query, history and text.")
    ],
    out: Results,
    workers: WorkersOption = "process",
    ray_address: RayAddress = "",
    batch: BatchRows = 1_024,
) -> None:
    """Score user-item pairs with a release's cross-encoder; the table may be larger than memory."""
    from pipeline.bulk.tasks import Score  # noqa: PLC0415 - torch takes seconds to import, and --help should not

    _run(BulkJob(Score, release, pairs, out, batch), workers, ray_address)


def _run(job: BulkJob, workers: Workers, ray_address: str) -> None:
    rows = run_bulk(job, workers, ray_address, ProgressReport(CONSOLE))
    CONSOLE.print(f"{rows:,} rows in {job.out}")
