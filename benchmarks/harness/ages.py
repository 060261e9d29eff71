"""Which recorded results are older than the code that they measured."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

# What the benchmarks of a folder run, in addition to their own code.
_MEASURED: Final[Mapping[str, Sequence[str]]] = {
    "gateway": ("common", "services"),
    "histories": ("common", "services/ranking", "pipeline/learning"),
    "offline": ("common", "services", "pipeline"),
    "preparation": ("common", "pipeline/data"),
    "ranking": ("common", "services/ranking"),
    "reliability": ("common", "services"),
    "retrieval": ("common", "services/retrieval"),
    "security": ("common", "services"),
}


@dataclass(frozen=True)
class Age:
    """How old a recorded result is.

    Attributes:
        commit: The commit that it was measured on.
        changed: The source files that it measured and that changed since, in order; None if the commit is not known.
    """

    commit: str
    changed: Sequence[str] | None


def recorded_ages(results: Path, modules: Mapping[str, str], top: Path) -> dict[str, Age]:
    """Return the age of each result by its file's name.

    Args:
        results: The folder of the results.
        modules: The module of each benchmark below `benchmarks`, by the benchmark's name.
        top: The top folder of the repository.
    """
    ages = {}
    for file in sorted(results.glob("*.json")):
        recorded = json.loads(file.read_text())
        name = max((one for one in modules if file.stem.startswith(one)), key=len, default="")
        module = modules.get(name, "")
        measured = [*_MEASURED.get(module.partition(".")[0], ("common", "services", "pipeline")), _source(module)]
        commit = recorded["commit"].removesuffix("-dirty")
        ages[file.stem] = Age(recorded["commit"], _changed(commit, [path for path in measured if path], top))
    return ages


def ages_table(ages: Mapping[str, Age]) -> Table:
    """Return the ages as a table; those that nothing changed under are not listed."""
    table = Table("benchmark", "measured on", "changed since", "such as", title="Older than what they measured")
    for name, age in ages.items():
        if age.changed is None:
            table.add_row(name, age.commit, "unknown commit", "")
        elif age.changed:
            table.add_row(name, age.commit, f"{len(age.changed)} files", age.changed[0])
    return table


def _source(module: str) -> str:
    return f"benchmarks/{module.replace('.', '/')}.py" if module else ""


def _changed(commit: str, paths: Sequence[str], top: Path) -> list[str] | None:
    """Return the Python files below the paths that differ from a commit; None if git does not know the commit."""
    patterns = [path if path.endswith(".py") else f"{path}/*.py" for path in paths]
    answered = subprocess.run(  # noqa: S603 - a commit of our own records
        ["git", "diff", "--name-only", commit, "--", *patterns],  # noqa: S607 - git is on the path
        cwd=top,
        capture_output=True,
        text=True,
        check=False,
    )
    return sorted(answered.stdout.split()) if answered.returncode == 0 else None
