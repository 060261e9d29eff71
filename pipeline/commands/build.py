"""The commands that make datasets and releases: sources, prepare, build, releases, demo."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from common.release.manifest import MANIFEST, read_manifest
from common.release.store import open_release, set_current
from pipeline.commands.console import CONSOLE
from pipeline.commands.field_options import with_field_options
from pipeline.data.adapters import ADAPTERS, prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import render
from pipeline.data.dataset.summary import summary_table
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import RECIPES, default_recipe

# The groups of `build --help`, by the first field of each.
_PANELS: Final = {
    "recipe": "Recipe and training requests",
    "base_model": "Base model",
    "candidates": "First stage",
    "tiers": "Cross-encoder",
    "late_bits": "Late interaction",
    "boosters": "Fusion",
}
AdapterName = Annotated[
    str, typer.Option("--source", help="Data adapter that reads the raw data; `python -m pipeline sources` lists them.")
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


def prepare_dataset(
    adapter: AdapterName,
    out: Annotated[Path, typer.Option(help="Folder for the dataset; an existing one is replaced.")],
    data: RawData = None,
) -> None:
    """Clean raw shop data into a dataset, and report which rows were dropped and why."""
    dataset = prepare(adapter, data, lambda step: CONSOLE.print(f"{step} …"))
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


def _recipe_for(dataset: Dataset) -> str:
    """Return the recipe that fits the data, and print its name if it is not the usual one."""
    events, judgements = not dataset.events.is_empty(), dataset.judgements is not None
    recipe = default_recipe(events=events, times=dataset.order_column == "timestamp", judgements=judgements)
    if recipe.name != BuildSettings.recipe:
        CONSOLE.print(f"Recipe {recipe.name}, for {recipe.description}; --recipe names another")
    return recipe.name


@with_field_options(BuildSettings, _PANELS, _default)
def build_release(
    adapter: AdapterName,
    out: Annotated[Path, typer.Option(help="Release store: the release is added to it and made current.")],
    data: RawData = None,
    encoder_epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes of the encoder over judged searches, or over purchases with times; 0 leaves it unchanged.",
            min=0,
            show_default="0; searches: 1",
        ),
    ] = None,
    training_processes: Annotated[
        int, typer.Option(help="Processes that fine-tune the cross-encoder together, one per GPU.", min=1)
    ] = 1,
    *,
    changes: dict[str, Any],
) -> None:
    """Build a release from raw shop data and publish it."""
    from pipeline.build.builder import build  # noqa: PLC0415 - torch takes seconds to import, and --help should not

    named = changes.pop("recipe", None)
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}

    def settings_of(recipe: str) -> BuildSettings:
        made = BuildSettings.from_recipe(recipe, **changes).with_training_processes(training_processes)
        return made if encoder_epochs is None else made.with_encoder_epochs(encoder_epochs)

    settings = settings_of(named or BuildSettings.recipe)  # bad values are refused before the data is read
    report = ProgressReport(CONSOLE)
    with report.step(f"Preparing {adapter}"):
        dataset = prepare(adapter, data)
    CONSOLE.print(render(dataset.report))
    CONSOLE.print(summary_table(dataset))
    if named is None:
        settings = settings_of(_recipe_for(dataset))
    release = build(dataset, out, settings, report)
    CONSOLE.print(f"Release {release.id} in {release.path}")
    CONSOLE.print(f"Serve it with: make serve RELEASE={out}")


def releases(
    store: Annotated[Path, typer.Argument(help="Release store.")],
    use: Annotated[
        str, typer.Option(help="Id of a release to make current; servers that start from now on serve it.")
    ] = "",
) -> None:
    """List the releases of a store, newest first, and mark the current one."""
    if use:
        set_current(store, use)
    current = open_release(str(store)).id
    table = Table("", "release", "built", "data", "models")
    found = [read_manifest(path.parent) for path in store.glob(f"*/{MANIFEST}")]
    for manifest in sorted(found, key=lambda manifest: manifest.created_at, reverse=True):
        mark = "[green]current[/]" if manifest.release_id == current else ""
        models = ", ".join(f"{name} {card.precision}" for name, card in sorted(manifest.models.items()))
        table.add_row(mark, manifest.release_id, manifest.created_at, manifest.data.source, models)
    CONSOLE.print(table)


def demo(
    out: Annotated[Path, typer.Option(help="Release store to build in and to serve from.")] = Path(
        "releases/complete-journey"
    ),
) -> None:
    """Build a release from real purchases, serve it, and show and measure its recommendations."""
    from pipeline.demo import run_demo  # noqa: PLC0415 - torch takes seconds to import, and --help should not

    run_demo(out, CONSOLE)
