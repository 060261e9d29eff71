"""The folder that a release is built in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from common.errors import InvalidRequest
from pipeline.release.artifacts.staging import staging_dir

_HOLDER = """
import sys, time
from pathlib import Path
from pipeline.release.artifacts.staging import staging_dir
with staging_dir(Path(sys.argv[1]), "key") as folder:
    (folder / "half").write_text("built")
    (folder.parent / "checkpoints").mkdir()
    print("holding", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Return a process that is at the build `key` in ``tmp_path``; ended after the test."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        yield process
        process.kill()


def _fail(store: Path, error: BaseException) -> None:
    """Begin a build that has checkpoints, and end it by an error."""
    with staging_dir(store, "key") as folder:
        folder.with_name("checkpoints").mkdir()
        raise error


def test_nothing_is_left_of_a_build_that_ends(tmp_path: Path):
    """Folder, checkpoints and lock are gone after a build, and after one that can't be done."""
    with staging_dir(tmp_path, "key") as folder:
        (folder / "file").write_text("built")
        folder.with_name("checkpoints").mkdir()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidRequest):
        _fail(tmp_path, InvalidRequest("impossible"))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_build_leaves_its_checkpoints_alone(tmp_path: Path):
    """After Ctrl-C the half-built release is gone, and the same build finds its checkpoints."""
    with pytest.raises(KeyboardInterrupt):
        _fail(tmp_path, KeyboardInterrupt())
    assert [file.name for file in tmp_path.rglob("*")] == [".building-key", "checkpoints"]
    with staging_dir(tmp_path, "key") as folder:
        assert folder.with_name("checkpoints").is_dir()
        assert list(folder.iterdir()) == []


def test_the_same_build_waits_for_the_one_under_way(tmp_path: Path):
    """Two builds of a key run one after the other, and `on_wait` is called for the second."""
    waits, entered = threading.Event(), threading.Event()

    def second() -> None:
        with staging_dir(tmp_path, "key", waits.set):
            entered.set()

    thread = threading.Thread(target=second)
    with staging_dir(tmp_path, "key") as folder:
        thread.start()
        assert waits.wait(20)
        assert not entered.is_set()
        assert folder.is_dir()
    assert entered.wait(20)
    thread.join()
    assert list(tmp_path.iterdir()) == []


def test_other_builds_leave_a_live_one_alone(tmp_path: Path, holder: subprocess.Popen[str]):
    """A build of another key neither waits for a build under way nor removes anything of it."""
    with staging_dir(tmp_path, "other"):
        pass
    assert (tmp_path / ".building-key/release/half").exists()
    assert holder.poll() is None


def test_a_killed_build_is_cleaned_up_but_for_its_checkpoints(tmp_path: Path, holder: subprocess.Popen[str]):
    """After `kill -9` any other build removes the half-built release and the lock, and keeps the checkpoints."""
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with staging_dir(tmp_path, "other"):
        assert not (tmp_path / ".building-key/release").exists()
    assert [file.name for file in tmp_path.rglob("*")] == [".building-key", "checkpoints"]
