"""The offline part's command line: prepare, build, evaluate, demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from common.errors import ShortlistError
from pipeline.build_settings import BuildSettings, Precision
from pipeline.data_report import render
from pipeline.dataset import Dataset
from pipeline.prepare import SOURCES, prepare
from pipeline.progress import ProgressReport

app = typer.Typer(
    help="Turns raw shop data into releases, and measures them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

Source = Annotated[str, typer.Option(help="Which kind of data it is; `sources` lists them.")]
Data = Annotated[Path | None, typer.Option(help="Where the raw data lies; by default where the source finds it.")]


@app.command()
def sources() -> None:
    """List the kinds of raw data that can be read."""
    table = Table("source", "what it is", "terms")
    for source in SOURCES.values():
        table.add_row(source.name, source.description, source.licence)
    console.print(table)


@app.command("prepare")
def prepare_command(
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder for the dataset; one that is there is replaced.")],
    data: Data = None,
) -> None:
    """Clean raw shop data into a dataset, and tell what was dropped and why."""
    dataset = prepare(source, data, lambda step: console.print(f"{step} …"))
    dataset.save(out)
    console.print(render(dataset.report))
    console.print(f"Dataset in {out}")


@app.command("build")
def build_command(
    source: Source,
    out: Annotated[Path, typer.Option(help="Release store: the release is added to it and made current.")],
    data: Data = None,
    base_model: Annotated[
        str, typer.Option(help="A folder, all-MiniLM-L6-v2, or a Hugging Face id.")
    ] = BuildSettings.base_model,
    window_days: Annotated[
        float, typer.Option(help="How many days ahead the release is trained and judged.")
    ] = BuildSettings.window_days,
    min_buyers: Annotated[
        int, typer.Option(help="Leave items with fewer buyers out of the catalogue.")
    ] = BuildSettings.min_buyers,
    query_prefix: Annotated[str, typer.Option(help="What the base model wants before queries.")] = "",
    item_prefix: Annotated[str, typer.Option(help="What the base model wants before items.")] = "",
    precision: Annotated[
        Precision, typer.Option(help="Of the cross-encoder: int8 is faster, and refused where it ranks worse.")
    ] = BuildSettings.precision,
    max_ndcg_loss: Annotated[
        float, typer.Option(help="The share of NDCG@10 on validation that int8 may cost.")
    ] = BuildSettings.max_ndcg_loss,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = BuildSettings.seed,
) -> None:
    """Build a release from raw shop data and publish it."""
    from pipeline.build import build  # noqa: PLC0415 - torch takes seconds to import, and --help should not

    settings = BuildSettings(
        base_model=base_model,
        window_days=window_days,
        min_buyers=min_buyers,
        query_prefix=query_prefix,
        item_prefix=item_prefix,
        precision=precision,
        max_ndcg_loss=max_ndcg_loss,
        seed=seed,
    )
    report = ProgressReport(console)
    dataset = _dataset(source, data, report)
    console.print(render(dataset.report))
    release = build(dataset, out, settings, report)
    console.print(f"Release {release.id} in {release.path}")
    console.print(f"Serve it with: make serve RELEASE={out}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Release store to build in and to serve from.")] = Path(
        "releases/complete-journey"
    ),
) -> None:
    """Build a release from real purchases, serve it, and show and measure what it recommends."""
    from pipeline.demo import run_demo  # noqa: PLC0415 - torch takes seconds to import, and --help should not

    run_demo(out, console)


def _dataset(source: str, data: Path | None, report: ProgressReport) -> Dataset:
    with report.step(f"Preparing {source}"):
        return prepare(source, data)


def main() -> int:
    """Run a command; returns the exit code, 1 with one line for an error that the user can mend."""
    try:
        app(standalone_mode=True)
    except ShortlistError as error:
        console.print(f"[red]error:[/] {error}", highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
