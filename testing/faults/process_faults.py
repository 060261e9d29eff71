"""A full disk, a slow disk and a clock that was set, for one process: a library that is loaded before libc."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

from common.errors import NotReady

_SOURCE: Final = Path(__file__).with_name("fault_shim.c")
_CONTROL: Final = struct.Struct("qqq")


class ProcessFaults:
    """The faults of the processes that are started with `command`.

    Args:
        folder: Where the library is built.
        files: The folder whose files are on the faulty disk.

    Raises:
        NotReady: There is no C compiler.
    """

    def __init__(self, folder: Path, files: Path) -> None:
        self._library = folder / "fault_shim.so"
        self._files = files
        self._control_file = folder / "fault_control"
        self._control_file.write_bytes(_CONTROL.pack(0, 0, 0))
        _compile(self._library)
        with self._control_file.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), _CONTROL.size)

    @property
    def command(self) -> tuple[str, ...]:
        """The beginning of the command of a process that has the faults."""
        settings = {"LD_PRELOAD": self._library, "FAULT_CONTROL": self._control_file, "FAULT_FOLDER": self._files}
        return ("env", *(f"{name}={value}" for name, value in settings.items()))

    def set(self, *, full: bool = False, slow_ms: int = 0, clock_s: int = 0) -> None:
        """Set the faults: whether the disk is full, how long each write takes, how far the clock is ahead."""
        self._control[:] = _CONTROL.pack(full, slow_ms, clock_s)


def _compile(library: Path) -> None:
    if library.exists():
        return
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotReady("a C compiler is needed for faults of disk and clock; install gcc")
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own source
    if built.returncode:
        raise NotReady(f"the library of faults cannot be built: {built.stderr[-500:]}")
