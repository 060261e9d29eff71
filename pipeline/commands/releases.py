"""The command that lists a store's releases, copies them to another store, and says which one is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import fsspec
import typer
from rich.table import Table

from common.release.manifest import MANIFEST, Manifest, parse_manifest
from common.release.pointer import read_pointer, set_current, set_paused
from common.release.store import copy_release, open_release
from pipeline.commands.console import CONSOLE


def releases(
    store: Annotated[str, typer.Argument(help="Release store: a folder or a URL.")],
    copy_to: Annotated[
        str, typer.Option(help="Another store, such as s3://bucket/releases, to copy the current release to.")
    ] = "",
    use: Annotated[
        str, typer.Option(help="Id of a release to make current; servers that follow the store take it.")
    ] = "",
    pause: Annotated[
        bool | None,
        typer.Option("--pause/--resume", help="Whether followers keep what they serve."),
    ] = None,
) -> None:
    """List the releases of a store, newest first, and mark the current one."""
    if copy_to:
        current = open_release(store)
        copy_release(current, copy_to)
        set_current(copy_to, current.id)
    if pause is not None:
        set_paused(store, paused=pause)
    if use:
        set_current(store, use)
    pointer = read_pointer(store)
    table = Table("", "release", "built", "data", "models")
    for manifest in sorted(_manifests(store), key=lambda manifest: manifest.created_at, reverse=True):
        mark = "[green]current[/]" if manifest.release_id == pointer.release_id else ""
        mark = "before" if manifest.release_id == pointer.previous_id else mark
        models = ", ".join(f"{name} {card.precision}" for name, card in sorted(manifest.models.items()))
        table.add_row(mark, manifest.release_id, manifest.created_at, manifest.data.source, models)
    CONSOLE.print(table)
    if pointer.paused:
        CONSOLE.print("Roll-outs are paused: servers keep what they serve until `--resume`.")


def _manifests(store: str) -> Sequence[Manifest]:
    filesystem, path = fsspec.url_to_fs(store.rstrip("/"))
    return [parse_manifest(filesystem.cat_file(file), file) for file in filesystem.glob(f"{path}/*/{MANIFEST}")]
