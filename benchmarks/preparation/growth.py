"""How do time and memory of `pipeline prepare` grow with a shop's events?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.harness.record import Result, at_most
from common.errors import ShortlistError

_EVENTS: Final = (10_000, 100_000, 1_000_000, 10_000_000)
_QUICK: Final = (10_000, 100_000)
_ITEMS: Final = 100_000
_USERS: Final = 80_000
_TARGET_EVENTS: Final = 1_000_000
_MAX_SECONDS: Final = 20.0
_MAX_MB: Final = 1_500.0


def run(quick: bool, console: Console) -> Result:
    """Prepare made shops of 100,000 items and more and more events, each in a process of its own."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in _QUICK if quick else _EVENTS:
            _write_shop(folder, count)
            console.print(f"Preparing {count:,} events …")
            figures[str(count)] = _prepare(folder)
    point = figures.get(str(_TARGET_EVENTS))
    thresholds = (
        []
        if point is None
        else [
            at_most("1,000,000 events and 100,000 items, seconds", _MAX_SECONDS, point["seconds"]),
            at_most("1,000,000 events and 100,000 items, peak MB", _MAX_MB, point["peak MB"]),
        ]
    )
    return Result(figures, thresholds, [_table(figures)])


def _write_shop(folder: Path, events: int) -> None:
    """Write items with markup and currencies, and events in ISO times, as a shop exports them."""
    generator = np.random.default_rng(0)
    numbers = pl.Series(range(_ITEMS))
    pl.DataFrame(
        {
            "item_id": numbers.cast(pl.String).str.zfill(6),
            "title": [f"Thing &amp; number {number}" for number in range(_ITEMS)],
            "brand": [f"Brand {number % 977}" for number in range(_ITEMS)],
            "category": [f"Home > Part {number % 13} > Shelf {number % 131}" for number in range(_ITEMS)],
            "price": [f"{number % 9_999 / 100 + 1:.2f} USD" for number in range(_ITEMS)],
        }
    ).write_csv(folder / "items.csv")
    seconds = 1_700_000_000 + np.sort(generator.integers(0, 10_000_000, events))
    pl.DataFrame(
        {
            "user_id": generator.integers(0, _USERS, events),
            "item_id": pl.Series(generator.integers(0, _ITEMS, events)).cast(pl.String).str.zfill(6),
            "event": pl.Series(["view", "cart", "purchase"]).gather(generator.integers(0, 3, events)),
            "timestamp": pl.from_epoch(pl.Series(seconds)).dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "quantity": generator.integers(1, 4, events),
        }
    ).write_csv(folder / "events.csv")


def _prepare(folder: Path) -> dict[str, float]:
    """Run the command as a user does; returns its wall time, processor time and peak memory."""
    command = [sys.executable, "-m", "pipeline", "prepare", "--source", "table", "--data", str(folder)]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--out", str(folder / "dataset")], stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ShortlistError(f"prepare ended with {process.returncode}; see its message above")
    return {"seconds": seconds, "processor s": usage.ru_utime + usage.ru_stime, "peak MB": usage.ru_maxrss / 1_000}


def _table(figures: dict[str, dict[str, float]]) -> Table:
    table = Table("events", "seconds", "processor s", "peak MB", title="prepare, 100,000 items")
    for count, point in figures.items():
        table.add_row(f"{int(count):,}", *(f"{number:,.1f}" for number in point.values()))
    return table
