"""The kustomize base, which is generated from the chart."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).parents[3]
BASE = TOP / "deploy" / "kustomize" / "base"


def _objects(text: str) -> list[dict[str, Any]]:
    found = [one for one in yaml.safe_load_all(text) if one]
    return sorted(found, key=lambda one: (one["kind"], one["metadata"]["name"]))


def test_the_base_is_that_of_the_chart(helm: Path, run: Callable[..., Any], tmp_path: Path):
    """`make kustomize` writes it again after a change of the chart."""
    made = run(sys.executable, TOP / "deploy" / "kustomize" / "generate.py", helm, tmp_path)
    assert made.returncode == 0, made.stderr
    assert _objects((tmp_path / "objects.yaml").read_text()) == _objects((BASE / "objects.yaml").read_text())
    assert (tmp_path / "kustomization.yaml").read_text() == (BASE / "kustomization.yaml").read_text()


def test_kustomize_builds_the_base(tool: Callable[[str], Path], run: Callable[..., Any]):
    """Every object is built, with no trace of Helm."""
    built = run(tool("kubectl"), "kustomize", BASE)
    assert built.returncode == 0, built.stderr
    assert _objects(built.stdout) == _objects((BASE / "objects.yaml").read_text())
    assert "helm" not in built.stdout.lower()
