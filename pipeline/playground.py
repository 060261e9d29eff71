"""Opens the playground on a release, and builds the demo's release if there is none."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import polars as pl
from rich.console import Console

from common.errors import BadRelease
from common.release.store import Release, open_release
from pipeline.data.adapters import ADAPTERS, prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.inspection.detection import detect
from pipeline.progress import ProgressReport

DEMO: Final = Path("releases/complete-journey")
_DEMO_SOURCE: Final = "complete-journey"
_LIVE: Final = ".playground"
# What a user did last counts most, and an address in the browser holds it.
_MAX_HISTORY: Final = 200
_MIN_HISTORY: Final = 5
_CHOICES: Final = ("purchase", "rating", "favourite", "cart", "view")


def open_playground(location: Path, data: Path | None, users: int, port: int, console: Console) -> NoReturn:
    """Become the playground of a release: this process is replaced.

    Args:
        location: Release or store; that of the demo is built if it is missing.
        data: The shop's files, for users to choose from.
        users: How many users to draw.
        port: Port of the page.
        console: Where to say what is done.

    Raises:
        BadRelease: There is no release, or it is damaged.
    """
    found = _release(location, console)
    folder = (location if location.is_dir() else location.parent) / _LIVE
    folder.mkdir(parents=True, exist_ok=True)
    flags: dict[str, Any] = {"release": found.path, "data-dir": folder, "judgements": folder / "votes", "port": port}
    dataset = _dataset(found, data, console) if users else None
    if dataset is not None:
        flags["users"] = folder / "users.jsonl"
        count = write_users(dataset, flags["users"], users)
        console.print(f"{count} users with at least {_MIN_HISTORY} events, drawn at random, can be chosen.")
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


def _release(location: Path, console: Console) -> Release:
    """Return the release; the demo's is built if it is not there."""
    try:
        return open_release(str(location))
    except BadRelease:
        if location != DEMO or any(location.glob("*/manifest.json")):
            raise
    from pipeline.build.builder import build  # noqa: PLC0415 - torch takes seconds to import
    from pipeline.release.config.build_settings import BuildSettings  # noqa: PLC0415 - as above

    console.print(f"There is no release in {location}. Building the demo's from real purchases: about four minutes.")
    report = ProgressReport(console)
    with report.step("Preparing Complete Journey"):
        dataset = prepare(_DEMO_SOURCE)
    return build(dataset, location, BuildSettings(), report)


def _dataset(release: Release, data: Path | None, console: Console) -> Dataset | None:
    """Return the shop's data; None if there is none here, which is said."""
    if data is not None:
        return detect(data).prepare(lambda _: None)
    source = release.manifest.data.source
    if source == _DEMO_SOURCE and source in ADAPTERS:
        return prepare(source)
    console.print("Without --data there are no users to choose from; make one on the page from items.")
    return None
