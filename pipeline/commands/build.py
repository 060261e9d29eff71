"""The commands that make datasets and releases: sources, prepare, build, demo, playground."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.table import Table

from common.errors import InvalidRequest
from common.security.signature import read_private_key
from pipeline.commands.console import CONSOLE
from pipeline.commands.field_options import with_field_options
from pipeline.commands.fitting_options import fitting_options
from pipeline.data.adapters import ADAPTERS, prepare
from pipeline.data.adapters.adapter import Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import render
from pipeline.data.dataset.summary import summary_table
from pipeline.data.inspection.detection import detect
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import RECIPES

# The groups of `build --help`, by the first field of each.
_PANELS: Final = {
    "recipe": "Recipe and training requests",
    "base_model": "Base model",
    "candidates": "First stage",
    "tiers": "Cross-encoder",
    "late_bits": "Late interaction",
    "boosters": "Fusion",
}
# The exit code for a release that its gate refused.
REFUSED: Final = 3
SigningKey = Annotated[Path | None, typer.Option(help="Private key to sign the release with; `signing-key` makes one.")]
AdapterName = Annotated[
    str,
    typer.Option(
        "--source",
        help="Data adapter that reads the raw data; `python -m pipeline sources` lists them.",
        show_default="by what the files are",
    ),
]
RawData = Annotated[
    Path | None, typer.Option("--data", help="File or folder of the raw data; some adapters find it themselves.")
]


def sources() -> None:
    """List the data adapters: which raw data can be read."""
    table = Table("source", "what it is", "terms")
    for adapter in ADAPTERS.values():
        table.add_row(adapter.name, adapter.description, adapter.licence)
    CONSOLE.print(table)


def _prepared(adapter: str, data: Path | None, progress: Progress) -> Dataset:
    """Return the dataset that an adapter makes; without a name, that of the adapter that fits the files."""
    if adapter:
        return prepare(adapter, data, progress)
    if data is None:
        raise InvalidRequest("name the file or folder of the raw data with --data, or an adapter with --source")
    found = detect(data)
    CONSOLE.print(escape(found.sentence), highlight=False)
    return found.prepare(progress)


def prepare_dataset(
    out: Annotated[Path, typer.Option(help="Folder for the dataset; an existing one is replaced.")],
    adapter: AdapterName = "",
    data: RawData = None,
) -> None:
    """Clean raw shop data into a dataset, and report which rows were dropped and why."""
    dataset = _prepared(adapter, data, lambda step: CONSOLE.print(f"{step} …"))
    dataset.save(out)
    CONSOLE.print(render(dataset.report))
    CONSOLE.print(summary_table(dataset))
    CONSOLE.print(f"Dataset in {out}")


def _default(name: str) -> str:
    """Return a field's default, and the recipes that have another."""
    if name == "recipe":
        return "by the data"
    value = next(field.default for field in dataclasses.fields(BuildSettings) if field.name == name)
    others = [f"{recipe.name}: {recipe.settings[name]}" for recipe in RECIPES.values() if name in recipe.settings]
    return "; ".join([str(value), *others]) if value not in ("", ()) else ""


@with_field_options(BuildSettings, _PANELS, _default)
def build_release(
    out: Annotated[Path, typer.Option(help="Release store: the release is added to it and made current.")],
    adapter: AdapterName = "",
    data: RawData = None,
    encoder_epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes of the encoder over judged searches, or over purchases with times; 0 leaves it unchanged.",
            min=0,
            show_default="0; searches: 1",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make the release current even if its gate refuses it (exit code 3).")
    ] = False,
    signing_key: SigningKey = None,
    training_processes: Annotated[
        int, typer.Option(help="Processes that fine-tune the cross-encoder together, one per GPU.", min=1)
    ] = 1,
    *,
    changes: dict[str, Any],
) -> None:
    """Build a release from raw shop data and publish it; exit code 3 if its gate refuses to make it current."""
    # torch takes seconds to import, and --help should not
    from pipeline.build.builder import build  # noqa: PLC0415
    from pipeline.build.completion.gate import is_refused  # noqa: PLC0415

    named = changes.pop("recipe", None)
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}

    def settings_of(recipe: str) -> BuildSettings:
        made = BuildSettings.from_recipe(recipe, **changes).with_training_processes(training_processes)
        return made if encoder_epochs is None else made.with_encoder_epochs(encoder_epochs)

    key = None if signing_key is None else read_private_key(signing_key)  # a bad key is refused before the work
    settings = settings_of(named or BuildSettings.recipe)  # bad values are refused before the data is read
    report = ProgressReport(CONSOLE)
    with report.step(f"Preparing {adapter or data}"):
        dataset = _prepared(adapter, data, lambda _: None)
    CONSOLE.print(render(dataset.report))
    CONSOLE.print(summary_table(dataset))
    if named is None:
        recipe, fitting, sentence = fitting_options(dataset, changes)
        changes |= fitting
        settings = settings_of(recipe)
        if sentence is not None:
            CONSOLE.print(sentence, highlight=False)
    release = build(dataset, out, settings, report, force=force, signing_key=key)
    CONSOLE.print(f"Release {release.id} in {release.path}")
    if is_refused(release, force=force):
        raise typer.Exit(REFUSED)
    CONSOLE.print(f"Serve it with: make serve RELEASE={out}")


def demo(
    out: Annotated[Path, typer.Option(help="Release store to build in and to serve from.")] = Path(
        "releases/complete-journey"
    ),
) -> None:
    """Build a release from real purchases, serve it, show and measure it; exit code 3 if its gate refuses it."""
    from pipeline.demo import run_demo  # noqa: PLC0415 - torch takes seconds to import, and --help should not

    if not run_demo(out, CONSOLE):
        raise typer.Exit(REFUSED)


def playground(
    release: Annotated[
        Path, typer.Option(help="Release or store to serve; the demo's is built if it is missing.")
    ] = Path("releases/complete-journey"),
    data: Annotated[
        Path | None, typer.Option("--data", help="The shop's files, for users to choose from; the demo has its own.")
    ] = None,
    users: Annotated[int, typer.Option(help="Users to choose from, drawn at random.", min=0, max=10_000)] = 100,
    port: Annotated[int, typer.Option(help="Port of the page; 0 for a free one.", min=0, max=65_535)] = 8_080,
) -> None:
    """Serve a release on this machine, and open a page that shows what it recommends and why."""
    from pipeline.playground import open_playground  # noqa: PLC0415 - polars takes a moment to import

    open_playground(release, data, users, port, CONSOLE)
