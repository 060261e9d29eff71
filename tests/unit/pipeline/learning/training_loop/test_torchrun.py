"""Starting the processes of a training."""

from __future__ import annotations

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


def _interpreter(folder: Path, code: int) -> str:
    """Return a script that records its arguments, reports two steps and ends with an exit code."""
    script = folder / "python"
    script.write_text(_SCRIPT.format(folder=folder, code=code))
    script.chmod(0o755)
    return str(script)


def test_steps_are_reported_as_they_are_done(tmp_path: Path):
    """Torchrun gets the number of processes, and each step that the first process reports is passed on."""
    reported: list[tuple[int, int, float]] = []
    run_in_processes(tmp_path, 3, lambda *step: reported.append(step), python=_interpreter(tmp_path, code=0))
    assert reported == [(1, 2, 0.5), (2, 2, 0.25)]
    called = (tmp_path / "called").read_text().split()
    assert "--nproc-per-node=3" in called
    assert called[-2:] == ["pipeline.learning.training_loop", str(tmp_path)]


def test_a_process_that_fails_is_an_error_with_its_log(tmp_path: Path):
    """If a process fails, the error names the log and has its last lines."""
    with pytest.raises(RuntimeError, match=r"(?s)training\.log.*out of memory"):
        run_in_processes(tmp_path, 2, lambda *_: None, python=_interpreter(tmp_path, code=1))
