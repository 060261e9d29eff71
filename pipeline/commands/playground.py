"""The command that opens the playground on a release, and builds the demo's release if there is none."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import polars as pl
import typer

from common.errors import BadRelease
from common.release.store import Release, open_release
from pipeline.commands.console import CONSOLE
from pipeline.data.adapters import ADAPTERS, prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.inspection.detection import detect
from pipeline.progress import ProgressReport

_DEMO: Final = Path("releases/complete-journey")
_DEMO_SOURCE: Final = "complete-journey"
_LIVE: Final = ".playground"
# What a user did last counts most, and an address in the browser holds it.
_MAX_HISTORY: Final = 200
_MIN_HISTORY: Final = 5
_CHOICES: Final = ("purchase", "rating", "favourite", "cart", "view")


def playground(
    release: Annotated[Path, typer.Option(help="Release or store to serve; the demo's is built if missing.")] = _DEMO,
    data: Annotated[
        Path | None, typer.Option("--data", help="The shop's files, for users to choose from; the demo has its own.")
    ] = None,
    users: Annotated[int, typer.Option(help="Users to choose from, drawn at random.", min=0, max=10_000)] = 100,
    port: Annotated[int, typer.Option(help="Port of the page; 0 for a free one.", min=0, max=65_535)] = 8_080,
) -> None:
    """Serve a release on this machine and open a page that shows what it recommends, and why."""
    found = _release(release)
    folder = (release if release.is_dir() else release.parent) / _LIVE
    folder.mkdir(parents=True, exist_ok=True)
    flags: dict[str, Any] = {"release": found.path, "data-dir": folder, "judgements": folder / "votes", "port": port}
    dataset = _dataset(found, data) if users else None
    if dataset is not None:
        flags["users"] = folder / "users.jsonl"
        count = write_users(dataset, flags["users"], users)
        CONSOLE.print(f"{count} users with at least {_MIN_HISTORY} events, drawn at random, can be chosen.")
    command = [sys.executable, "-m", "services.playground", *(f"--{name}={value}" for name, value in flags.items())]
    # It takes this process's place, so that signals and its exit code are its own.
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and module  # nosec B606


def write_users(dataset: Dataset, file: Path, count: int, seed: int = 0) -> int:
    """Write users and their histories as the playground reads them; returns how many there are.

    Args:
        dataset: The shop's data.
        file: The file, replaced as a whole.
        count: How many users to draw of those with at least five events.
        seed: The same seed draws the same users.
    """
    events = dataset.events
    if events.is_empty():
        return 0
    kind = next((kind for kind in _CHOICES if (events["event"] == kind).any()), None)
    histories = (
        (events if kind is None else events.filter(pl.col("event") == kind))
        .group_by("user_id", maintain_order=True)  # events are in their order in time
        .agg(pl.col("item_id").tail(_MAX_HISTORY))
        .filter(pl.col("item_id").list.len() >= _MIN_HISTORY)
    )
    drawn = histories.sample(min(count, len(histories)), seed=seed, shuffle=True)
    draft = file.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as lines:
        for user_id, items in drawn.iter_rows():
            lines.write(json.dumps({"user_id": str(user_id), "history": items}, ensure_ascii=False) + "\n")
    draft.replace(file)
    return len(drawn)


def _release(location: Path) -> Release:
    """Return the release; the demo's is built if it is not there."""
    try:
        return open_release(str(location))
    except BadRelease:
        if location != _DEMO or any(location.glob("*/manifest.json")):
            raise
    from pipeline.build.builder import build  # noqa: PLC0415 - torch takes seconds to import
    from pipeline.release.config.build_settings import BuildSettings  # noqa: PLC0415 - as above

    CONSOLE.print(f"There is no release in {location}. Building the demo's from real purchases: about four minutes.")
    report = ProgressReport(CONSOLE)
    with report.step("Preparing Complete Journey"):
        dataset = prepare(_DEMO_SOURCE)
    return build(dataset, location, BuildSettings(), report)


def _dataset(release: Release, data: Path | None) -> Dataset | None:
    """Return the shop's data; None if there is none here, which is said."""
    if data is not None:
        return detect(data).prepare(lambda _: None)
    source = release.manifest.data.source
    if source == _DEMO_SOURCE and source in ADAPTERS:
        return prepare(source)
    CONSOLE.print("Without --data there are no users to choose from; make one on the page from items.")
    return None
