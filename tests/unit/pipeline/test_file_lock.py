"""Locks on files, between threads and processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.file_lock import locked, locked_if_free

_HOLDER = """
import sys, time
from pathlib import Path
from pipeline.file_lock import locked
with locked(Path(sys.argv[1]), lambda: None):
    print("holding", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def holder(file: Path):
    """Return a process that holds the lock; killed after the test."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _HOLDER, str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        yield process
        process.kill()


def _fail(file: Path) -> None:
    with locked_if_free(file) as is_held:
        assert is_held
        raise KeyError


def test_the_file_is_removed_with_the_lock(file: Path):
    """The lock's file exists while the body runs, and no longer, even if the body fails."""
    with locked(file, lambda: None):
        assert file.exists()
    assert not file.exists()
    with pytest.raises(KeyError):
        _fail(file)
    assert not file.exists()


def test_threads_take_turns(file: Path):
    """Of many threads that take the lock and remove its file, only one at a time is inside."""
    inside, most = 0, []

    def enter() -> None:
        nonlocal inside
        for _ in range(5):
            with locked(file, lambda: None):
                inside += 1
                most.append(inside)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def test_a_lock_of_another_process_is_not_free(file: Path, holder: subprocess.Popen[str]):
    """The body runs without the lock, and the holder keeps its file."""
    with locked_if_free(file) as is_held:
        assert not is_held
    assert file.exists()
    assert holder.poll() is None


def test_a_killed_holder_loses_the_lock(file: Path, holder: subprocess.Popen[str]):
    """Who waits is told so once, and gets the lock when the holder is killed."""
    waited = []

    def kill() -> None:
        waited.append(file)
        holder.kill()

    with locked(file, kill):
        assert waited == [file]
