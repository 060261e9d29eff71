"""A day's events and items into a new release of Complete Journey: `update` compared with a build."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.harness.record import Result, at_most
from benchmarks.offline.yesterday import SETTINGS, SOURCE, STORE, build_yesterday, without_last_day
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.pointer import set_current
from pipeline.build.incremental.update import update
from pipeline.data.adapters import prepare
from pipeline.progress import ProgressReport

_MAX_SHARE: Final = 0.1
_UPDATES: Final = 3


def run(quick: bool, console: Console) -> Result:
    """Build or reuse yesterday's release, and update it; quick updates it once, otherwise three times."""
    report = ProgressReport(console)
    with report.step(f"Preparing {SOURCE}"):
        whole = prepare(SOURCE, None)
    before = build_yesterday(whole, report)
    took, steps = [], {}
    for _ in range(1 if quick else _UPDATES):
        set_current(STORE, before.id)
        timed = ProgressReport(console)
        began = time.monotonic()
        after = update(whole, STORE, timed, force=True)
        took.append(time.monotonic() - began)
        steps = {name: round(seconds, 2) for name, seconds in timed.seconds.items()}
        _forget(after.path)
    set_current(STORE, before.id)
    build_s, update_s = float(before.manifest.metrics["build_s"]), sorted(took)[len(took) // 2]
    items = len(Catalogue.open(before.file(CATALOGUE)))
    figures = {
        "build_s": build_s,
        "build settings": {"cross_encoder_lists": SETTINGS.cross_encoder_lists},
        "update_s": [round(seconds, 1) for seconds in took],
        "update steps": steps,
        "new events": whole.events.height - without_last_day(whole).events.height,
        "new items": whole.items.height - items,
        "items": whole.items.height,
    }
    table = Table("", "seconds", title="A day's events and items into a new release")
    table.add_row("build", f"{build_s:.0f}")
    table.add_row("update, median", f"{update_s:.1f}")
    threshold = at_most("an update's time, as a share of a build's", _MAX_SHARE, update_s / build_s)
    return Result(figures, [threshold], [table])


def _forget(folder: Path) -> None:
    """Remove a release, so that the next update makes it again."""
    shutil.rmtree(folder)
