"""The write-ahead log of the live catalogue: what was acknowledged is on disk.

The file is a line that names the format, then one record a change: a head of length, CRC-32 of the body and CRC-32 of
the two before it (little-endian, four bytes each), and the body. A write that a crash cut off leaves a torn record at
the end; it was never acknowledged and is cut off with a warning. A bad record with others behind it is no torn write
but a damaged disk, and refused.
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


_HEAD: Final = struct.Struct("<III")


_log = structlog.get_logger()


class WriteAheadLog:
    """Changes in the order they were made, in a file of ``folder`` that this process alone writes.

    Safe for one writer and any number of readers.

    Args:
        folder: Where the file lies; made where it does not exist.

    Raises:
        NotReady: Another process has the log, it can't be written, or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            self._descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise NotReady(f"the changes of the catalogue can't be kept in {folder}: {error}") from error
        self._broken = False
        try:
            self.end = self._recover()
        except BaseException:
            self.close()
            raise

    def append(self, change: Change) -> None:
        """Write a change to disk; it is durable when this returns.

        Raises:
            NotReady: The disk refuses; the change is not in the log. Where the disk can't even be put back to the
                state before, every later change is refused too, until a restart recovers the log.
        """
        if self._broken:
            raise NotReady(f"{self.file} could not be written before; restart the server once the disk is well")
        record = _record(change)
        try:
            _write(self._descriptor, record, self.end)
        except OSError as error:
            self._undo()
            raise NotReady(f"the change can't be stored in {self.file}: {error}; nothing was changed") from error
        self.end += len(record)

    def read(self, start: int = 0) -> Iterator[tuple[int, Change]]:
        """Read the changes from byte ``start`` (0, or where an earlier read ended) to the end as it is now.

        Yields:
            Where the change's record ends, and the change.
        """
        position, end = max(start, len(_FORMAT)), self.end
        while position < end:
            body = _read_record(self._descriptor, position, end)
            if body is None:
                raise NotReady(f"{self.file} is damaged at byte {position}; restore it from a backup")
            position += _HEAD.size + len(body)
            yield position, Change.from_bytes(body)

    def rewrite(self, changes: Iterable[Change]) -> None:
        """Replace every change by ``changes``, atomically and durably. No other call may run."""
        aside = self.file.with_suffix(".new")
        with aside.open("wb") as stream:
            stream.write(_FORMAT)
            for change in changes:
                stream.write(_record(change))
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(self.file)
        _fsync(self.file.parent)
        os.close(self._descriptor)
        self._descriptor = os.open(self.file, os.O_RDWR)
        self.end = self.file.stat().st_size

    def close(self) -> None:
        """Let go of the file; the log can't be used any more."""
        os.close(self._descriptor)
        os.close(self._lock)

    def _recover(self) -> int:
        """Return where the last whole record ends, and cut off what a crash left behind it."""
        size = os.fstat(self._descriptor).st_size
        if size < len(_FORMAT):  # new, or the crash came before the first line was whole
            os.ftruncate(self._descriptor, 0)
            _write(self._descriptor, _FORMAT, 0)
            _fsync(self.file.parent)
            return len(_FORMAT)
        if os.pread(self._descriptor, len(_FORMAT), 0) != _FORMAT:
            raise NotReady(f"{self.file} is no log of this version; move it away or choose another --data-dir")
        end = self._end_of_records(size)
        if end < size:
            _log.warning("torn tail cut off", file=str(self.file), kept_bytes=end, cut_bytes=size - end)
            os.ftruncate(self._descriptor, end)
            os.fsync(self._descriptor)
        return end

    def _end_of_records(self, size: int) -> int:
        position = len(_FORMAT)
        while (body := _read_record(self._descriptor, position, size)) is not None:
            position += _HEAD.size + len(body)
        if not _is_torn(self._descriptor, position, size):
            raise NotReady(f"{self.file} is damaged at byte {position}; restore it from a backup or move it away")
        return position

    def _undo(self) -> None:
        # After a failed fsync nobody knows what the disk holds (https://lwn.net/Articles/752063/): write no more.
        self._broken = True
        try:
            os.ftruncate(self._descriptor, self.end)
            os.fsync(self._descriptor)
        except OSError:
            return
        self._broken = False


def _record(change: Change) -> bytes:
    body = change.to_bytes()
    head = struct.pack("<II", len(body), zlib.crc32(body))
    return head + struct.pack("<I", zlib.crc32(head)) + body


def _read_record(descriptor: int, position: int, end: int) -> bytes | None:
    """Return the body of the record at ``position``, None where no whole record lies there."""
    length = _body_length(descriptor, position, end)
    if length is None or position + _HEAD.size + length > end:
        return None
    checksum = _HEAD.unpack(os.pread(descriptor, _HEAD.size, position))[1]
    body = os.pread(descriptor, length, position + _HEAD.size)
    return body if zlib.crc32(body) == checksum else None


def _body_length(descriptor: int, position: int, end: int) -> int | None:
    """Return what a whole and sound head at ``position`` says, else None."""
    head = os.pread(descriptor, _HEAD.size, position) if position + _HEAD.size <= end else b""
    if len(head) < _HEAD.size:
        return None
    length, _, checksum = _HEAD.unpack(head)
    return int(length) if zlib.crc32(head[:8]) == checksum else None


def _is_torn(descriptor: int, position: int, end: int) -> bool:
    """Tell whether what lies at ``position`` is the end of the log or one write that a crash cut off.

    A power cut may leave the length of the file ahead of its contents: zeros count as torn, and so does a last record
    whose body is wrong.
    """
    length = _body_length(descriptor, position, end)
    if length is not None:
        return position + _HEAD.size + length >= end
    rest = os.pread(descriptor, end - position, position)
    return len(rest) < _HEAD.size or not any(rest)


def _write(descriptor: int, data: bytes, position: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], position + written)
    os.fsync(descriptor)


def _lock(folder: Path) -> int:
    """Hold the folder for this process until it ends, however it ends."""
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
