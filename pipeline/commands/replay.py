"""The commands that make a release from another: `replay` for an earlier time, `update` for new data."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from common.errors import InvalidRequest
from common.release.store import open_release
from common.security.signature import read_private_key
from pipeline.commands.build import REFUSED, SigningKey
from pipeline.commands.console import CONSOLE
from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import weigh_as_stated
from pipeline.data.dataset.training_requests import Windows
from pipeline.progress import ProgressReport

_TIMES: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"]
DatasetSource = Annotated[
    str, typer.Option("--source", help="Data adapter of the raw data; without it, --data is a prepared dataset.")
]
DatasetPath = Annotated[Path | None, typer.Option("--data", help="Raw data, or a dataset that `prepare` wrote.")]


def read_dataset(adapter: str, data: Path | None, report: ProgressReport) -> Dataset:
    """Prepare raw data, or read a prepared dataset if no adapter is named."""
    if adapter:
        with report.step(f"Preparing {adapter}"):
            return prepare(adapter, data)
    if data is None:
        raise InvalidRequest("name the data: --source with --data, or --data with a prepared dataset")
    with report.step("Reading the dataset"):
        return Dataset.load(data)


def replay_release(
    release: Annotated[str, typer.Option(help="Release or store; a path or URL.")],
    out: Annotated[Path, typer.Option(help="Folder for the release; an existing one is replaced.")],
    adapter: DatasetSource = "",
    data: DatasetPath = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=_TIMES, help="Events from this time on do not count; default: the test's beginning."),
    ] = None,
) -> None:
    """Write a release as it would have been earlier: its models, with tables of the events before a time."""
    from pipeline.tables.replay import replay  # noqa: PLC0415 - scipy and sklearn take a second, and --help should not

    opened, report = open_release(release), ProgressReport(CONSOLE)
    dataset = read_dataset(adapter, data, report)
    settings = opened.manifest.settings
    weighed = weigh_as_stated(dataset, settings.get("event_weights", ()))
    moment = until or Windows.of(weighed.events, float(settings["window_days"])).test
    written = replay(opened, dataset, moment, out, report)
    CONSOLE.print(f"Release {written.id} in {out}: {opened.id} with tables of the events before {moment}")


def update_release(
    store: Annotated[Path, typer.Option("--release", help="Release store: its current release is updated.")],
    adapter: DatasetSource = "",
    data: DatasetPath = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make the release current even if its gate refuses it (exit code 3).")
    ] = False,
    signing_key: SigningKey = None,
) -> None:
    """Make a release of new events and items with the models of the current one; same gate and exit code as build."""
    # torch takes seconds to import, and --help should not
    from pipeline.build.completion.gate import is_refused  # noqa: PLC0415
    from pipeline.build.incremental.update import update  # noqa: PLC0415

    key = None if signing_key is None else read_private_key(signing_key)  # a bad key is refused before the work
    report = ProgressReport(CONSOLE)
    release = update(read_dataset(adapter, data, report), store, report, force=force, signing_key=key)
    CONSOLE.print(f"Release {release.id} in {release.path}")
    if is_refused(release, force=force):
        raise typer.Exit(REFUSED)
