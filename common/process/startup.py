"""The first lines of a program: signals and standard streams, before imports that take a second."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from contextlib import suppress
from typing import Any


def run_program(module: str) -> int:
    """Import a program's module, call its `main`, and return the exit code.

    A SIGTERM or SIGINT before the program handles signals itself ends it with 0: there is nothing to drain. The kernel
    drops such a signal if nobody handles it and the process has the number 1, as in a container.
    """
    open_standard_streams()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    program: Any = importlib.import_module(module)
    code: int = program.main()
    return code


def open_standard_streams() -> None:
    """Open /dev/null for closed standard streams, and have characters that a stream cannot encode written as escapes.

    Otherwise the first files and connections would get the numbers 0 to 2, and be written to as standard output.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # None if it was closed
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _end(number: int, frame: object) -> None:
    del number, frame
    os._exit(0)
