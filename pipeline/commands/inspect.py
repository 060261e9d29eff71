"""The command that shows what is understood of a shop's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.console import CONSOLE
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.inspection.inspection import inspect
from pipeline.data.inspection.mapping_file import write_mapping
from pipeline.data.inspection.view import show


def inspect_files(
    data: Annotated[Path, typer.Argument(help="Folder with the shop's files.")],
    write: Annotated[
        Path | None,
        typer.Option(help="Write the proposed mapping to this TOML file; build from it with --source table."),
    ] = None,
) -> None:
    """Show what is understood of a shop's files: encodings, columns and their roles, rows as read, warnings."""
    inspection = inspect(data)
    show(inspection, CONSOLE)
    if write is not None:
        if inspection.recognised is not None:
            raise BadDataset(f"no mapping was written, none is needed: {inspection.recognised.sentence}")
        if inspection.description is None:
            raise BadDataset(f"no mapping was written: no table in {data} looks like items, with an id and a title")
        write_mapping(inspection, write)
        CONSOLE.print(f"Mapping in {write}")
        CONSOLE.print(f"Build with: python -m pipeline build --source table --data {write} --out releases/shop")
