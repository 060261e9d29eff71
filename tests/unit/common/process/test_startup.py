"""The first lines of a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[4]
SLOW = "import time; print('importing', flush=True); time.sleep(60)"
STREAMS = """
import os, sys
def main():
    first = os.open("/proc/self/status", os.O_RDONLY)
    print("…")
    return first
"""


RUN = "import sys; from common.process.startup import run_program; sys.exit(run_program('its_module'))"


def program(tmp_path: Path, source: str, *wrapper: str, **environment: str) -> subprocess.Popen[str]:
    """Start a program whose module has a source, with a pipe for its output."""
    (tmp_path / "its_module.py").write_text(source)
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [*wrapper, sys.executable, "-c", RUN],
        env=os.environ | {"PYTHONPATH": f"{TOP}:{tmp_path}"} | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_importing_ends_with_0(tmp_path: Path, number: signal.Signals):
    """A signal before the program handles signals ends it, with 0."""
    process = program(tmp_path, SLOW)
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    assert process.wait() == 0
    process.stdout.close()


def test_a_signal_ends_the_first_process_of_a_container(tmp_path: Path):
    """As process 1 of its own namespace, where a signal without a handler is dropped, SIGTERM ends it too."""
    wrapper = ("unshare", "--user", "--pid", "--fork", "--kill-child")
    if subprocess.run([*wrapper, "true"], check=False, capture_output=True).returncode:  # noqa: S603
        pytest.skip("this machine allows no process namespaces")
    kill = "import os, signal; assert os.getpid() == 1; os.kill(1, signal.SIGTERM); print('alive', flush=True)"
    process = program(tmp_path, kill, *wrapper)
    output, _ = process.communicate()
    assert (process.returncode, output) == (0, "")


def test_closed_standard_streams_are_opened(tmp_path: Path):
    """With all three closed, the first file that the program opens is not one of them."""
    process = program(tmp_path, STREAMS, "sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-')
    process.communicate()
    assert process.returncode >= 3


def test_characters_that_a_stream_cannot_encode_are_escaped(tmp_path: Path):
    """A program that prints … to an ASCII terminal does not fail."""
    process = program(tmp_path, STREAMS, PYTHONIOENCODING="ascii")
    output, _ = process.communicate()
    assert output == "\\u2026\n"
