"""The files of the log of impressions: names, bounds on size and age, and erasing a user's lines."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from common.errors import ShortlistError

# A name sorts by the time at which the file was begun.
_NAME: Final = "shown-{begun_us:016d}-{number:06d}.jsonl"
PATTERN: Final = "shown-*.jsonl"
_LOCK: Final = ".lock"
_MIB: Final = 1 << 20
_LOOK_S: Final = 600.0


class BadImpressionsLog(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """The folder of the log cannot be used; the message names it."""

    status = "FAILED_PRECONDITION"


@dataclass(frozen=True)
class LogLimits:
    """Bounds of the log.

    Attributes:
        max_mib: MiB of all files together; the oldest are erased.
        max_age_s: Age in seconds after which a file is erased.
        max_file_mib: MiB after which a file is closed and the next begun.
        max_file_s: Seconds after which a file is closed and the next begun.
    """

    max_mib: float = 1_024
    max_age_s: float = 90 * 86_400.0
    max_file_mib: float = 64.0
    max_file_s: float = 3_600.0


class LogFiles:
    """The files of one gateway; for one thread.

    Args:
        folder: The folder; made if it does not exist.
        limits: The bounds.
        now_s: Seconds since 1970.

    Raises:
        BadImpressionsLog: The folder cannot be written, or another gateway writes to it.
    """

    def __init__(self, folder: Path, limits: LogLimits, now_s: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._limits = limits
        self._now_s = now_s
        self._file: IO[bytes] | None = None
        self._begun_s = 0.0
        self._number = 0
        self._looked_s = now_s()
        self._lock = _lock(folder)
        for staged in folder.glob(f".{PATTERN}"):  # a crash left it, and no erasure would reach its lines
            staged.unlink()

    def append(self, lines: Sequence[str]) -> None:
        """Write lines and sync them to the disk; raises OSError, and then some of them may be written."""
        if self._file is None:
            self._file = self._begin()
        try:
            self._file.write("".join(lines).encode("ascii"))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            self.rotate()  # what follows must not continue a line that is torn
            raise
        if self._file.tell() >= self._limits.max_file_mib * _MIB:
            self.rotate()

    def rotate_if_old(self) -> None:
        """Close the file that is written if it is old enough; now and then, erase files beyond the bounds."""
        now_s = self._now_s()
        if self._file is not None and now_s - self._begun_s >= self._limits.max_file_s:
            self.rotate()
        elif now_s - self._looked_s >= _LOOK_S:
            self._erase_beyond_bounds()

    def rotate(self) -> None:
        """Close the file that is written, and erase files beyond the bounds."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        finally:
            self._erase_beyond_bounds()

    def erase(self, user: str) -> int:
        """Erase all lines of a user's pseudonym; returns how many there were. Takes time in proportion to the log."""
        self.rotate()
        mark = f'"user":"{user}"'.encode("ascii")
        return sum(_erase_lines(file, mark) for file in self._files())

    def close(self) -> None:
        """Close the file that is written, and let another gateway use the folder."""
        if self._file is not None:
            self._file.close()
        os.close(self._lock)

    def _begin(self) -> IO[bytes]:
        self._begun_s = self._now_s()
        self._number += 1
        name = _NAME.format(begun_us=round(self._begun_s * 1e6), number=self._number)
        return (self._folder / name).open("xb")

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(PATTERN))

    def _erase_beyond_bounds(self) -> None:
        self._looked_s = self._now_s()
        left, oldest_s = self._limits.max_mib * _MIB, self._looked_s - self._limits.max_age_s
        for file in reversed(self._files()):
            found = file.stat()
            left -= found.st_size
            if left < 0 or found.st_mtime < oldest_s:
                file.unlink()


def _lock(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadImpressionsLog(
            f"{folder} cannot be written: {error.strerror}; name another folder with --impressions-log"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise BadImpressionsLog(
            f"another gateway writes its impressions to {folder}; give each its own folder with --impressions-log"
        ) from error
    return descriptor


def _erase_lines(file: Path, mark: bytes) -> int:
    content = file.read_bytes()
    if mark not in content:
        return 0
    lines = content.splitlines(keepends=True)
    kept = [line for line in lines if mark not in line]
    staged = file.with_name(f".{file.name}")
    with staged.open("wb") as stream:
        stream.writelines(kept)
        stream.flush()
        os.fsync(stream.fileno())
    found = file.stat()
    os.utime(staged, ns=(found.st_atime_ns, found.st_mtime_ns))  # the lines that stay get no younger
    staged.replace(file)
    return len(lines) - len(kept)
