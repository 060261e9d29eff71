"""Faults of disk and clock in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testing.faults.process_faults import ProcessFaults

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
Run = Callable[[str], str]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return the folder on the faulty disk."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.fixture
def faults(tmp_path: Path, files: Path) -> ProcessFaults:
    return ProcessFaults(tmp_path, files)


@pytest.fixture
def run(faults: ProcessFaults) -> Run:
    """Return a function that runs Python code with the faults, and returns what it prints."""

    def output(code: str) -> str:
        command = [*faults.command, sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    return output


def _write(file: Path) -> str:
    return (
        f"try: open({str(file)!r}, 'wb', buffering=0).write(b'a'); print('written')\n"
        "except OSError as error: print(error.errno)"
    )


def test_a_full_disk_is_that_of_one_folder(faults: ProcessFaults, files: Path, tmp_path: Path, run: Run):
    """Writes below the folder fail with ENOSPC while the disk is full, writes elsewhere do not."""
    assert run(_write(files / "a")) == "written"
    faults.set(full=True)
    assert run(_write(files / "b")) == "28"
    assert run(_write(tmp_path / "c")) == "written"
    faults.set()
    assert run(_write(files / "d")) == "written"


def test_a_full_disk_fails_a_commit_of_sqlite(faults: ProcessFaults, files: Path, run: Run):
    """SQLite, which writes by other calls, sees the full disk too."""
    faults.set(full=True)
    code = (
        f"import sqlite3\ntry: sqlite3.connect({str(files / 'a.db')!r}).execute('create table t (a)')\n"
        "except sqlite3.OperationalError as error: print(error)"
    )
    assert "full" in run(code)


def test_a_slow_disk_takes_its_time(faults: ProcessFaults, files: Path, run: Run):
    """Each write takes at least as long as was set."""
    faults.set(slow_ms=200)
    began_s = time.monotonic()
    assert run(_write(files / "a")) == "written"
    assert time.monotonic() - began_s >= 0.2


def test_the_clock_is_ahead_and_time_spans_are_not(faults: ProcessFaults, run: Run):
    """The wall clock differs by what was set; the monotonic clock goes on."""
    faults.set(clock_s=86_400)
    wall_s, monotonic_s = map(float, run("import time; print(time.time(), time.monotonic())").split())
    assert wall_s - time.time() == pytest.approx(86_400, abs=600)
    assert monotonic_s == pytest.approx(time.monotonic(), abs=600)
