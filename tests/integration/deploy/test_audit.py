"""`make audit` never calls packages free of vulnerabilities that it has not compared with any."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[3] / "deploy/tools/audit.py"
SOUND = {"name": "six", "version": "1.0", "vulns": []}
WEAK = {"name": "jinja", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}


def _audit(folder: Path, answer: str, error: str = "") -> subprocess.CompletedProcess[str]:
    """Run it with a pip-audit that answers so, after it has read the packages."""
    program = folder / "pip-audit"
    (folder / "answer").write_text(answer)
    (folder / "error").write_text(error)
    program.write_text(f'#!/bin/sh\ncat > "{folder}/read"\ncat "{folder}/answer"\ncat "{folder}/error" >&2\n')
    program.chmod(0o755)
    command = (sys.executable, str(AUDIT), str(program))
    packages = "six==1.0\ntorch==2.13.0+cpu\n"
    return subprocess.run(command, input=packages, capture_output=True, text=True, check=False)  # noqa: S603 - our own


@pytest.mark.parametrize(
    ("dependencies", "code", "printed"),
    [
        ([SOUND], 0, "0 known vulnerabilities in 1 packages\n"),
        ([SOUND, UNKNOWN], 0, "0 known vulnerabilities in 1 packages; 1 have no advisories there: torch\n"),
        ([SOUND, WEAK], 1, "jinja 2.0: PYSEC-1, fixed in: 2.1\n1 known vulnerabilities in 2 packages\n"),
    ],
)
def test_what_was_compared_is_counted(tmp_path: Path, dependencies: list[dict[str, object]], code: int, printed: str):
    """Vulnerabilities fail, and packages without advisories are named; versions are read without their build."""
    ended = _audit(tmp_path, json.dumps({"dependencies": dependencies}))
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, printed, "")
    assert (tmp_path / "read").read_text() == "six==1.0\ntorch==2.13.0\n"


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (json.dumps({"dependencies": [UNKNOWN]}), "No known vulnerabilities found", "none of the 1 packages"),
        ("", "Traceback\nConnectionError: no route to host", "cannot be reached: ConnectionError: no route to host"),
    ],
)
def test_without_advisories_it_fails_in_one_line(tmp_path: Path, answer: str, error: str, reason: str):
    """Where advisories cannot be read, one line says so, and the exit code is 1."""
    ended = _audit(tmp_path, answer, error)
    assert ended.returncode == 1
    assert not ended.stdout
    (line,) = ended.stderr.splitlines()
    assert line.startswith("Nothing was audited: ")
    assert reason in line
