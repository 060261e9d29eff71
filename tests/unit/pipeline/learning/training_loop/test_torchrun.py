"""Starting the processes of a training."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.learning.training_loop.torchrun import run_in_processes

_SCRIPT = """#!/bin/sh
echo "$@" > "{folder}/called"
echo "[1, 2, 0.5]"
echo "noise"
echo "[2, 2, 0.25]"
echo "out of memory" >&2
exit {code}
"""


def _fake_python(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Stand a script in for the interpreter that torchrun would run in."""
    script = folder / "python"
    script.write_text(_SCRIPT.format(folder=folder, code=code))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def test_steps_are_told_as_they_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Torchrun is started with so many processes, and each step that the first one reports is passed on."""
    _fake_python(tmp_path, monkeypatch, code=0)
    told: list[tuple[int, int, float]] = []
    run_in_processes(tmp_path, 3, lambda *step: told.append(step))
    assert told == [(1, 2, 0.5), (2, 2, 0.25)]
    called = (tmp_path / "called").read_text().split()
    assert "--nproc-per-node=3" in called
    assert called[-2:] == ["pipeline.learning.training_loop", str(tmp_path)]


def test_a_process_that_fails_is_an_error_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where a process fails, the error names the log and has its end."""
    _fake_python(tmp_path, monkeypatch, code=1)
    with pytest.raises(RuntimeError, match=r"(?s)training\.log.*out of memory"):
        run_in_processes(tmp_path, 2, lambda *_: None)
