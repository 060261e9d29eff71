"""The recording rules and alerts: valid, firing when they should, each with a test and a section for the operator."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[3]
DEPLOY = TOP / "deploy"
RULES = sorted((DEPLOY / "helm" / "shortlist" / "files" / "rules").glob("*.yaml"))
CASES = sorted((DEPLOY / "prometheus").glob("*.test.yaml"))
PROMTOOL = shutil.which("promtool")
ALERTS = {
    rule["alert"]: rule
    for file in RULES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(  # noqa: S603 - a tool of the distribution and our own files
        [str(PROMTOOL), *map(str, arguments)], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(PROMTOOL is None, reason="promtool, of the package prometheus, is not installed")
def test_rules_are_valid():
    """Prometheus reads every file of rules."""
    answered = promtool("check", "rules", *RULES)
    assert answered.returncode == 0, answered.stdout + answered.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool, of the package prometheus, is not installed")
@pytest.mark.parametrize("cases", CASES, ids=[file.name for file in CASES])
def test_alerts_fire_when_they_should(cases: Path):
    """Each alert fires when its case expects it and not before."""
    answered = promtool("test", "rules", cases)
    assert answered.returncode == 0, answered.stdout + answered.stderr


def test_each_alert_has_a_case_that_fires():
    """An alert that was never seen to fire may never fire."""
    fired = {
        test["alertname"]
        for file in CASES
        for case in yaml.safe_load(file.read_text())["tests"]
        for test in case["alert_rule_test"]
        if test["exp_alerts"]
    }
    assert fired == set(ALERTS)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_each_alert_leads_to_what_an_operator_does(name: str):
    """The alert names a file and a heading in it; a heading's anchor is its text in small letters."""
    file, anchor = ALERTS[name]["annotations"]["runbook"].split("#")
    headings = re.findall(r"^#+ (.+)$", (TOP / file).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_each_section_of_the_runbooks_has_an_alert():
    """A section whose alert is gone misleads."""
    sections = re.findall(r"^## (Shortlist\w+)$", (TOP / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(ALERTS)
