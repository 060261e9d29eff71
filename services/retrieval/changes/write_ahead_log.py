"""The write-ahead log (WAL) of the live catalogue: an acknowledged change is on disk.

The file begins with a line that names the format. One record for each change follows: a header and a body. The header
is the body's length, its CRC-32, and the CRC-32 of the eight bytes before (little-endian, four bytes each). A crash
during a write leaves a torn record at the end; it was never acknowledged and is cut off with a warning. A bad record
with others behind it is not a torn write but disk damage, and is refused.

Written by hand rather than with SQLite because of that difference: SQLite's recovery ends at the first frame with a
wrong checksum and drops what follows (https://www.sqlite.org/walformat.html#recovery), acknowledged or not. All items
of a call share one record and one fsync. `benchmarks/retrieval/crash.py` killed the server 200 times while it wrote: no
acknowledged change was lost (`docs/adr/0020-what-stays-hand-written.md`).
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import structlog

from common.errors import NotReady
from services.retrieval.changes.change import Change

FILE: Final = "changes.log"
_FORMAT: Final = b"shortlist catalogue changes 1\n"
_HEADER: Final = struct.Struct("<III")
_log = structlog.get_logger()


class WriteAheadLog:
    """Changes in the order they were made, in a file that only this process writes.

    Safe for one writer and any number of readers.

    Args:
        folder: The folder of the file; created if missing.

    Raises:
        NotReady: Another process uses the log, it can't be written, or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            self._descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise NotReady(f"changes of the catalogue can't be stored in {folder}: {error}") from error
        self._broken = False
        try:
            self.end = self._recover()
        except BaseException:
            self.close()
            raise

    def append(self, change: Change) -> None:
        """Write a change to disk; it is durable when this returns.

        Raises:
            NotReady: The disk fails; the change is not in the log. If the log can't be truncated to its former end
                either, every later change is refused until a restart recovers the log.
        """
        if self._broken:
            raise NotReady(f"{self.file} could not be written before; repair the disk and restart the server")
        record = _record(change)
        try:
            _write(self._descriptor, record, self.end)
        except OSError as error:
            self._undo()
            raise NotReady(f"the change can't be stored in {self.file}: {error}; nothing was changed") from error
        self.end += len(record)

    def read(self, start: int = 0) -> Iterator[tuple[int, Change]]:
        """Read the changes from byte ``start`` to the present end of the log.

        Args:
            start: 0, or a position that an earlier read yielded.

        Yields:
            The position where the change's record ends, and the change.
        """
        position, end = max(start, len(_FORMAT)), self.end
        while position < end:
            body = _read_record(self._descriptor, position, end)
            if body is None:
                raise NotReady(f"{self.file} is damaged at byte {position}; restore it from a backup")
            position += _HEADER.size + len(body)
            yield position, Change.from_bytes(body)

    def rewrite(self, changes: Iterable[Change]) -> None:
        """Replace every change by ``changes``, atomically and durably. No other call may run."""
        new_file = self.file.with_suffix(".new")
        with new_file.open("wb") as stream:
            stream.write(_FORMAT)
            for change in changes:
                stream.write(_record(change))
            stream.flush()
            os.fsync(stream.fileno())
        new_file.replace(self.file)
        _fsync(self.file.parent)
        os.close(self._descriptor)
        self._descriptor = os.open(self.file, os.O_RDWR)
        self.end = self.file.stat().st_size

    def close(self) -> None:
        """Close the file; the log can't be used any more."""
        os.close(self._descriptor)
        os.close(self._lock)

    def _recover(self) -> int:
        """Cut off a torn tail, and return the position where the last whole record ends."""
        size = os.fstat(self._descriptor).st_size
        if size < len(_FORMAT):  # new, or a crash cut its first line
            os.ftruncate(self._descriptor, 0)
            _write(self._descriptor, _FORMAT, 0)
            _fsync(self.file.parent)
            return len(_FORMAT)
        if os.pread(self._descriptor, len(_FORMAT), 0) != _FORMAT:
            raise NotReady(f"{self.file} is not a log of this version; move it away or choose another --data-dir")
        end = self._end_of_records(size)
        if end < size:
            _log.warning(
                "torn tail of the write-ahead log cut off", file=str(self.file), kept_bytes=end, cut_bytes=size - end
            )
            os.ftruncate(self._descriptor, end)
            os.fsync(self._descriptor)
        return end

    def _end_of_records(self, size: int) -> int:
        position = len(_FORMAT)
        while (body := _read_record(self._descriptor, position, size)) is not None:
            position += _HEADER.size + len(body)
        if not _is_torn(self._descriptor, position, size):
            raise NotReady(f"{self.file} is damaged at byte {position}; restore it from a backup or move it away")
        return position

    def _undo(self) -> None:
        # After a failed fsync the contents of the disk are unknown (https://lwn.net/Articles/752063/): write no more.
        self._broken = True
        try:
            os.ftruncate(self._descriptor, self.end)
            os.fsync(self._descriptor)
        except OSError:
            return
        self._broken = False


def _record(change: Change) -> bytes:
    body = change.to_bytes()
    header = struct.pack("<II", len(body), zlib.crc32(body))
    return header + struct.pack("<I", zlib.crc32(header)) + body


def _read_record(descriptor: int, position: int, end: int) -> bytes | None:
    """Return the body of the record at ``position``, None if there is no whole record."""
    length = _body_length(descriptor, position, end)
    if length is None or position + _HEADER.size + length > end:
        return None
    checksum = _HEADER.unpack(os.pread(descriptor, _HEADER.size, position))[1]
    body = os.pread(descriptor, length, position + _HEADER.size)
    return body if zlib.crc32(body) == checksum else None


def _body_length(descriptor: int, position: int, end: int) -> int | None:
    """Return the body length in the header at ``position``, None if there is no whole and undamaged header."""
    header = os.pread(descriptor, _HEADER.size, position) if position + _HEADER.size <= end else b""
    if len(header) < _HEADER.size:
        return None
    length, _, checksum = _HEADER.unpack(header)
    return int(length) if zlib.crc32(header[:8]) == checksum else None


def _is_torn(descriptor: int, position: int, end: int) -> bool:
    """Return whether the bytes from ``position`` on are one write that a crash cut off.

    After a power cut the file's length may be ahead of its contents. Zeros therefore count as torn, and so does a last
    record with a wrong body.
    """
    length = _body_length(descriptor, position, end)
    if length is not None:
        return position + _HEADER.size + length >= end
    rest = os.pread(descriptor, end - position, position)
    return len(rest) < _HEADER.size or not any(rest)


def _write(descriptor: int, data: bytes, position: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], position + written)
    os.fsync(descriptor)


def _lock(folder: Path) -> int:
    """Lock the folder for this process; the kernel unlocks it however the process ends."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise NotReady(f"{folder} is in use by another server; choose another --data-dir") from error
    return descriptor


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
