"""The alert rules pass their test cases, run by Prometheus' promtool."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "deploy"
PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool, of the package prometheus, is not installed")
@pytest.mark.parametrize(
    ("check", "file"), [("check", "helm/shortlist/files/alerts.yaml"), ("test", "prometheus/alerts.test.yaml")]
)
def test_alert_rules(check: str, file: str):
    """The rules are valid, and each fires when its case expects it and not before."""
    answered = subprocess.run(  # noqa: S603 - a tool of the distribution and our own files
        [str(PROMTOOL), check, "rules", file], cwd=RULES, capture_output=True, text=True, check=False
    )
    assert answered.returncode == 0, answered.stdout + answered.stderr
