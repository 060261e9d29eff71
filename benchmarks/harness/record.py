"""The result of a benchmark: figures and thresholds, printed as tables and written as JSON with the measured commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

RESULTS: Final = Path(__file__).parents[1] / "results"
TOP: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Threshold:
    """A bound on a figure.

    Attributes:
        what: The figure, with its unit.
        target: The bound.
        value: The measured value.
        holds: Whether the value is within the bound.
    """

    what: str
    target: float
    value: float
    holds: bool


def at_least(what: str, target: float, value: float) -> Threshold:
    """Return a threshold that holds if the value is ``target`` or more."""
    return Threshold(what, target, value, value >= target)


def at_most(what: str, target: float, value: float) -> Threshold:
    """Return a threshold that holds if the value is ``target`` or less."""
    return Threshold(what, target, value, value <= target)


@dataclass(frozen=True)
class Result:
    """The result of one run of a benchmark.

    Attributes:
        figures: Figures by name; a figure may be a mapping of further ones.
        thresholds: Bounds on the figures.
        tables: The figures as printed.
        chart: The figures as an SVG file; empty if there is none.
    """

    figures: Mapping[str, Any]
    thresholds: Sequence[Threshold]
    tables: Sequence[Table] = ()
    chart: str = ""


def write_result(name: str, result: Result, *, quick: bool) -> Path | None:
    """Write a result to `results/NAME.json` and its chart to `NAME.svg`; a quick run is too rough to be written."""
    if quick:
        return None
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    content = {
        "name": name,
        "command": f"python -m benchmarks {name}",
        "commit": commit(),
        "machine": machine(),
        "figures": result.figures,
        "bars": [asdict(threshold) for threshold in result.thresholds],
    }
    file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    if result.chart:
        file.with_suffix(".svg").write_text(result.chart)
    return file


def print_result(result: Result, console: Console) -> None:
    """Print the tables and the thresholds."""
    for table in result.tables:
        console.print(table)
    if result.thresholds:
        console.print(thresholds_table({"": result.thresholds}))


def recorded_thresholds() -> dict[str, list[Threshold]]:
    """Return every recorded threshold by benchmark."""
    files = sorted(RESULTS.glob("*.json"))
    return {file.stem: [Threshold(**threshold) for threshold in json.loads(file.read_text())["bars"]] for file in files}


def thresholds_table(thresholds: Mapping[str, Sequence[Threshold]]) -> Table:
    """Return thresholds as a table, by benchmark."""
    table = Table("benchmark", "what", "target", "value", "holds", title="Thresholds")
    for name, found in thresholds.items():
        for threshold in found:
            holds = "[green]yes[/]" if threshold.holds else "[red]no[/]"
            table.add_row(name, threshold.what, f"{threshold.target:g}", f"{threshold.value:.4g}", holds)
    return table


def commit() -> str:
    """Return the measured commit, marked `-dirty` if the checkout differs from it."""
    answered = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 - git is on the path
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    return answered.stdout.strip() or "unknown"


def machine() -> str:
    """Return the processor, cores, system and Python of this machine."""
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
