"""The offline part's command line: prepare, build, evaluate, demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.errors import ShortlistError
from common.release.store import MANIFEST, open_release, read_manifest, set_current
from pipeline.bulk.job import BulkJob, Workers
from pipeline.bulk.run import run_bulk
from pipeline.data.adapters import ADAPTERS, prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import render
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings, Precision
from pipeline.release.config.recipe import ADDABLE, Recipe
from pipeline.release.config.recipes import RECIPES
from services.retrieval.ann.ann_index import AnnKind

_LOG_COLUMNS = 132  # a log has no width of its own, and tables need one


app = typer.Typer(
    help="Turns raw shop data into releases, and measures them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


console = Console(width=None if sys.stdout.isatty() else _LOG_COLUMNS)


def _said(recipe: Recipe) -> str:
    return f"{recipe.name} ({recipe.description})"


Source = Annotated[str, typer.Option(help="Which kind of data it is; `sources` lists them.")]


Data = Annotated[Path | None, typer.Option(help="Where the raw data lies; by default where the source finds it.")]


@app.command()
def sources() -> None:
    """List the kinds of raw data that can be read."""
    table = Table("source", "what it is", "terms")
    for source in ADAPTERS.values():
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
    recipe: Annotated[
        str, typer.Option(help="What the release is made of: " + "; ".join(map(_said, RECIPES.values())) + ".")
    ] = BuildSettings.recipe,
    add_source: Annotated[
        list[str] | None,
        typer.Option(help=f"A source of the first stage beside the recipe's: {' or '.join(ADDABLE)}; may be repeated."),
    ] = None,
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
    student_layers: Annotated[
        int, typer.Option(help="Serve a shallower cross-encoder of so many layers, taught by the full one.", min=0)
    ] = BuildSettings.student_layers,
    trim_vocabulary: Annotated[
        bool, typer.Option("--trim-vocabulary", help="Keep only tokens that the catalogue has: smaller models.")
    ] = BuildSettings.trimmed_vocabulary,
    max_ndcg_loss: Annotated[
        float, typer.Option(help="The share of NDCG@10 on validation that each of these three may cost.")
    ] = BuildSettings.max_ndcg_loss,
    training_processes: Annotated[
        int, typer.Option(help="Processes that fine-tune the cross-encoder together, one a GPU.", min=1)
    ] = 1,
    encoder_epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes of the encoder over judged searches, or over purchases with times; 0 leaves it as it is.",
            min=0,
            show_default="the recipe's",
        ),
    ] = None,
    index: Annotated[
        AnnKind,
        typer.Option(
            help="What searches the item embeddings: hnsw, a graph, or pq, quantised vectors in a twentieth of the "
            "memory, for catalogues that change all day. Fewer than 5,000 texts are compared exactly by default."
        ),
    ] = BuildSettings.index,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = BuildSettings.seed,
) -> None:
    """Build a release from raw shop data and publish it."""
    from pipeline.build.builder import build  # noqa: PLC0415 - torch takes seconds to import, and --help should not

    settings = BuildSettings.of(
        recipe,
        added_sources=tuple(add_source or ()),
        base_model=base_model,
        window_days=window_days,
        min_buyers=min_buyers,
        query_prefix=query_prefix,
        item_prefix=item_prefix,
        precision=precision,
        student_layers=student_layers,
        trimmed_vocabulary=trim_vocabulary,
        max_ndcg_loss=max_ndcg_loss,
        index=index,
        seed=seed,
    ).trained_by(training_processes)
    if encoder_epochs is not None:
        settings = settings.encoder_trained(encoder_epochs)
    report = ProgressReport(console)
    dataset = _dataset(source, data, report)
    console.print(render(dataset.report))
    release = build(dataset, out, settings, report)
    console.print(f"Release {release.id} in {release.path}")
    console.print(f"Serve it with: make serve RELEASE={out}")


@app.command("evaluate")
def evaluate_command(
    release: Annotated[str, typer.Option(help="Release or store, path or URL.")],
    source: Annotated[str, typer.Option(help="Kind of raw data; without it, --data is a prepared dataset.")] = "",
    data: Annotated[Path | None, typer.Option(help="Raw data, or a dataset that `prepare` wrote.")] = None,
    protocol: Annotated[str, typer.Option(help="temporal, leave-last-out, or judged (queries).")] = "temporal",
    examples: Annotated[
        Path | None, typer.Option(help="Table of user_id, history and target to ask, in place of a protocol.")
    ] = None,
    users: Annotated[int | None, typer.Option(help="Users or queries to ask for at most.", min=1)] = None,
    folds: Annotated[int, typer.Option(help="Cross-validate source weights and trees in so many folds.", min=0)] = 0,
    baselines: Annotated[bool, typer.Option(help="Compare with single methods too.")] = False,
    steer: Annotated[
        bool,
        typer.Option("--steer", help="Ask with each least share of the tail too, beside foretelling what it costs."),
    ] = False,
    gateway: Annotated[str, typer.Option(help="HOST:PORT of a running gateway to ask, in place of the engines.")] = "",
    limit: Annotated[int, typer.Option(help="Items of each answer.", min=1, max=500)] = 100,
    threshold: Annotated[
        float, typer.Option(help="Probability from which on an item is said to be wanted.", min=0, max=1)
    ] = 0.5,
    out: Annotated[Path | None, typer.Option(help="HTML report to write.")] = None,
    json: Annotated[
        Path | None, typer.Option(help="Figures as JSON; they are always kept in evaluations/ of the store too.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of intervals, tests, folds and drawing.")] = 7,
) -> None:
    """Measure a release: through the engines that serve it, or through a running gateway."""
    from pipeline.evaluation.command import EvaluationData, run_evaluation, show  # noqa: PLC0415 - as with build
    from pipeline.evaluation.evaluation import EvaluationSettings  # noqa: PLC0415

    where = EvaluationData(source, data, protocol, examples, users)
    how = EvaluationSettings(
        limit=limit, threshold=threshold, folds=folds, gateway=gateway, baselines=baselines, steer=steer, seed=seed
    )
    found = run_evaluation(release, where, how, out, json, ProgressReport(console))
    show(found, console)


Serving = Annotated[str, typer.Option("--release", help="Release or store, path or URL.")]


Results = Annotated[Path, typer.Option(help="Folder for the results, as Parquet files; must not exist yet.")]


WorkersOption = Annotated[
    Workers, typer.Option("--workers", help="This process, or Ray: a worker a processor, here or on a cluster.")
]


RayAddress = Annotated[str, typer.Option(help="A Ray cluster's address; without one, workers are started here.")]


Batch = Annotated[int, typer.Option(help="Rows at a time.", min=1)]


@app.command()
def embed(
    release: Serving,
    items: Annotated[Path, typer.Option(help="Parquet file or folder: item_id, title, brand, category, description.")],
    out: Results,
    workers: WorkersOption = "process",
    ray_address: RayAddress = "",
    batch: Batch = 1_024,
) -> None:
    """Embed items with a release's encoder; there may be more than fit into memory, or on one machine."""
    from pipeline.bulk.tasks import Embed  # noqa: PLC0415 - as with build

    _bulk(BulkJob(Embed, release, items, out, batch), workers, ray_address)


@app.command()
def score(
    release: Serving,
    pairs: Annotated[Path, typer.Option(help="Parquet file or folder: item_id, and query, history, text where known.")],
    out: Results,
    workers: WorkersOption = "process",
    ray_address: RayAddress = "",
    batch: Batch = 1_024,
) -> None:
    """Score pairs of user and item with a release's cross-encoder; there may be more than fit on one machine."""
    from pipeline.bulk.tasks import Score  # noqa: PLC0415 - as with build

    _bulk(BulkJob(Score, release, pairs, out, batch), workers, ray_address)


def _bulk(bulk: BulkJob, workers: Workers, ray_address: str) -> None:
    rows = run_bulk(bulk, workers, ray_address, ProgressReport(console))
    console.print(f"{rows:,} rows in {bulk.out}")


@app.command()
def releases(
    store: Annotated[Path, typer.Argument(help="Release store.")],
    use: Annotated[
        str, typer.Option(help="Make this release the current one, for servers that start from now on.")
    ] = "",
) -> None:
    """List the releases of a store, the newest first, and mark the current one."""
    if use:
        set_current(store, use)
    current = open_release(str(store)).id
    table = Table("", "release", "built", "data", "models")
    found = [read_manifest(path.parent) for path in store.glob(f"*/{MANIFEST}")]
    for manifest in sorted(found, key=lambda manifest: manifest.created_at, reverse=True):
        mark = "[green]current[/]" if manifest.release_id == current else ""
        models = ", ".join(f"{name} {card.precision}" for name, card in sorted(manifest.models.items()))
        table.add_row(mark, manifest.release_id, manifest.created_at, manifest.data.source, models)
    console.print(table)


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
        console.print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
