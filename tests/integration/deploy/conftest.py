"""Helm, which `make test-deploy` installs; without it the chart's tests are skipped."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "helm" / "shortlist"
TOOLS = ROOT / ".venv-deploy"
HELMS = {f"Helm {version}": TOOLS / f"helm-{version}" / "helm" for version in (3, 4)}

Render = Callable[..., list[dict[str, Any]]]


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a tool that the Makefile installed and our own files
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.fixture(params=sorted(HELMS))
def helm(request: pytest.FixtureRequest) -> Path:
    """Return each Helm's program."""
    program = HELMS[request.param]
    if not program.exists():
        pytest.skip(f"{request.param} is not installed; `make test-deploy` installs it")
    return program


@pytest.fixture
def render(helm: Path, tmp_path: Path) -> Render:
    """Return a function that renders the chart with values and returns its objects."""

    def rendered(values: dict[str, Any] | None = None, kube: str = "1.37") -> list[dict[str, Any]]:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(values or {}))
        done = _run(helm, "template", "x", CHART, "--namespace", "shop", "--kube-version", kube, "--values", file)
        if done.returncode != 0:
            raise ValueError(done.stderr)
        return [one for one in yaml.safe_load_all(done.stdout) if one]

    return rendered


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs one of the tools and returns what it printed."""
    return _run


@pytest.fixture
def tool() -> Callable[[str], Path]:
    """Return a function that finds a tool of `make test-deploy`, or skips the test."""

    def found(name: str) -> Path:
        program = TOOLS / "bin" / name
        if not program.exists() and not shutil.which(name):
            pytest.skip(f"{name} is not installed; `make test-deploy` installs it")
        return program if program.exists() else Path(str(shutil.which(name)))

    return found
