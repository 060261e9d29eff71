"""What a benchmark found: figures and bars, printed as tables and written as JSON beside the commit that gave them."""

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
_TOP: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Threshold:
    """One thing that should hold.

    Attributes:
        what: What is compared, with its unit.
        target: The bar, as a number.
        value: What was measured.
        holds: Whether it holds.
    """

    what: str
    target: float
    value: float
    holds: bool


def at_least(what: str, target: float, value: float) -> Threshold:
    """Return a bar that holds from ``target`` upwards."""
    return Threshold(what, target, value, value >= target)


def at_most(what: str, target: float, value: float) -> Threshold:
    """Return a bar that holds up to ``target``."""
    return Threshold(what, target, value, value <= target)


@dataclass(frozen=True)
class Result:
    """What one run of a benchmark found.

    Attributes:
        figures: Figures by name, nested as the benchmark likes.
        bars: What should hold.
        tables: The figures for users.
        picture: An SVG file of them, where there is one.
    """

    figures: Mapping[str, Any]
    bars: Sequence[Threshold]
    tables: Sequence[Table] = ()
    picture: str = ""


def write(name: str, finding: Result, *, quick: bool) -> Path | None:
    """Write a finding to `results/NAME.json`, and its picture to `NAME.svg`; a quick run, which is rough, nowhere."""
    if quick:
        return None
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    content = {
        "name": name,
        "command": f"python -m benchmarks {name}",
        "commit": commit(),
        "machine": machine(),
        "figures": finding.figures,
        "bars": [asdict(bar) for bar in finding.bars],
    }
    file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    if finding.picture:
        file.with_suffix(".svg").write_text(finding.picture)
    return file


def show(finding: Result, console: Console) -> None:
    """Print the tables and the bars."""
    for table in finding.tables:
        console.print(table)
    if finding.bars:
        console.print(bars_table({"": finding.bars}))


def recorded() -> dict[str, list[Threshold]]:
    """Return every recorded bar by benchmark."""
    files = sorted(RESULTS.glob("*.json"))
    return {file.stem: [Threshold(**bar) for bar in json.loads(file.read_text())["bars"]] for file in files}


def bars_table(bars: Mapping[str, Sequence[Threshold]]) -> Table:
    """Return bars as a table, by benchmark."""
    table = Table("benchmark", "what", "target", "value", "holds", title="Bars")
    for name, found in bars.items():
        for bar in found:
            verdict = "[green]yes[/]" if bar.holds else "[red]no[/]"
            table.add_row(name, bar.what, f"{bar.target:g}", f"{bar.value:.4g}", verdict)
    return table


def commit() -> str:
    """Return the commit that is measured, marked where the checkout differs from it."""
    answered = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 - git is on the path where this runs
        cwd=_TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    return answered.stdout.strip() or "unknown"


def machine() -> str:
    """Return what the figures were measured on."""
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
