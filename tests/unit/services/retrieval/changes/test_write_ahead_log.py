"""The write-ahead log: acknowledged changes survive, a torn tail is cut off, damage is refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from common.errors import NotReady
from services.retrieval.catalogue.item import Item
from services.retrieval.changes import write_ahead_log
from services.retrieval.changes.change import Change
from services.retrieval.changes.write_ahead_log import FILE, WriteAheadLog


def upsert(*item_ids: str) -> Change:
    """Return a change that upserts items, each with every field set."""
    items = tuple(Item(item_id, "Käse ♥", "b", "c", "d", 1.25, available=False) for item_id in item_ids)
    return Change(items, np.arange(len(items) * 3, dtype=np.float32).reshape(-1, 3), "encoder")


def delete(*item_ids: str) -> Change:
    """Return a change that deletes items."""
    return Change((), np.empty((0, 3), dtype=np.float32), "encoder", item_ids)


def fields_of(change: Change) -> tuple[object, ...]:
    """Return the fields of a change, to compare."""
    items = [vars(item) | {"vector": None} for item in change.items]
    return items, change.vectors.tolist(), change.vectors.shape, change.encoder, change.deleted


CHANGES = (upsert("a", "b"), delete("a"), upsert("c"))


class Disk:
    """A folder; one process after the other opens the log in it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self.log: WriteAheadLog | None = None

    def start(self) -> WriteAheadLog:
        """Open the log as the next process does after the previous one ended."""
        self.stop()
        self.log = WriteAheadLog(self.file.parent)
        return self.log

    def stop(self) -> None:
        """End the process."""
        if self.log is not None:
            self.log.close()
        self.log = None

    def changes(self) -> list[tuple[object, ...]]:
        """Return what the next process reads."""
        return [fields_of(change) for _, change in self.start().read()]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Return an empty folder."""
    disk = Disk(tmp_path)
    yield disk
    disk.stop()


@pytest.fixture
def log(disk: Disk) -> WriteAheadLog:
    """Return a log with three changes."""
    log = disk.start()
    for change in CHANGES:
        log.append(change)
    return log


def test_changes_are_read_back(log: WriteAheadLog, disk: Disk):
    """Every change is read back unchanged, by the next process too; new ones follow them."""
    assert [fields_of(change) for _, change in log.read()] == [fields_of(change) for change in CHANGES]
    assert disk.changes() == [fields_of(change) for change in CHANGES]
    log.append(delete("z"))
    assert [change.deleted for _, change in log.read()] == [(), ("a",), (), ("z",)]


def test_reading_continues_from_a_position(log: WriteAheadLog):
    """A later read can start where an earlier one ended."""
    position = [end for end, _ in log.read()][1]
    assert [fields_of(change) for _, change in log.read(position)] == [fields_of(CHANGES[2])]
    assert list(log.read(log.end)) == []


def test_a_torn_tail_is_cut_off(log: WriteAheadLog, disk: Disk):
    """A last record cut at any byte is cut off with a warning; the changes before it stay."""
    whole = disk.file.read_bytes()
    start = [end for end, _ in log.read()][1]
    for cut in range(start + 1, len(whole)):
        disk.stop()
        disk.file.write_bytes(whole[:cut])
        with capture_logs() as lines:
            log = disk.start()
        assert [line["cut_bytes"] for line in lines if line["log_level"] == "warning"] == [cut - start]
        assert len(list(log.read())) == 2
        assert disk.file.stat().st_size == start
    log.append(CHANGES[2])
    assert disk.changes() == [fields_of(change) for change in CHANGES]


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("tail", [b"\0" * 5, b"\0" * 4_000, b"half a head"])
def test_a_tail_that_is_no_record_is_cut_off(disk: Disk, tail: bytes):
    """Zeros after a power cut, and parts of a header, are cut off."""
    with disk.file.open("ab") as stream:
        stream.write(tail)
    disk.stop()
    assert len(disk.changes()) == 3


@pytest.mark.usefixtures("log")
def test_a_damaged_last_body_is_cut_off(disk: Disk):
    """A last record whose body did not reach the disk was never acknowledged."""
    whole = bytearray(disk.file.read_bytes())
    whole[-1] ^= 1
    disk.file.write_bytes(whole)
    assert len(disk.changes()) == 2


@pytest.mark.parametrize("offset", [0, 4, 8, 12, 40])
def test_damage_before_the_end_is_refused(log: WriteAheadLog, disk: Disk, offset: int):
    """A damaged byte with changes behind it is refused with its position; the file is not touched."""
    whole = bytearray(disk.file.read_bytes())
    start = next(end for end, _ in log.read())
    whole[start + offset] ^= 0x40
    disk.file.write_bytes(whole)
    with pytest.raises(NotReady, match=rf"changes.log is damaged at byte {start}; restore it"):
        disk.start()
    assert disk.file.read_bytes() == whole
    disk.file.unlink()
    assert disk.changes() == []  # the refused log left no lock


@pytest.mark.parametrize("size", [0, 1, 29])
def test_a_crash_while_the_log_was_created(disk: Disk, size: int):
    """A file shorter than the first line is a new log."""
    disk.start()
    disk.file.write_bytes(disk.file.read_bytes()[:size])
    disk.start().append(delete("a"))
    assert len(disk.changes()) == 1


def test_another_file_is_refused(disk: Disk):
    """A file that is not a log of this version is refused."""
    disk.file.write_text("my shopping list, with much to buy\n")
    with pytest.raises(NotReady, match=r"not a log of this version; move it away or choose another --data-dir"):
        disk.start()


def test_one_process_at_a_time(log: WriteAheadLog, disk: Disk):
    """A second server on the same folder is refused."""
    assert log.end > 0
    with pytest.raises(NotReady, match=r"is in use by another server; choose another --data-dir"):
        WriteAheadLog(disk.file.parent)


def test_a_folder_that_cannot_be_created(tmp_path: Path):
    """The error names a folder that can't be created."""
    (tmp_path / "file").touch()
    with pytest.raises(NotReady, match=r"can't be stored in .*file/log"):
        WriteAheadLog(tmp_path / "file" / "log")


def test_a_full_disk_changes_nothing(log: WriteAheadLog, disk: Disk, monkeypatch: pytest.MonkeyPatch):
    """A change that can't be written is refused and leaves no trace; later ones are written once there is room."""

    def half_then_full(descriptor: int, data: bytes, position: int) -> int:
        os_pwrite(descriptor, data[: len(data) // 2], position)
        raise OSError(errno.ENOSPC, "No space left on device")

    os_pwrite = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(write_ahead_log.os, "pwrite", half_then_full)
        with pytest.raises(NotReady, match=r"can't be stored in .*No space left on device; nothing was changed"):
            log.append(delete("z"))
    log.append(delete("y"))
    assert [change[-1] for change in disk.changes()] == [(), ("a",), (), ("y",)]


def test_a_failing_disk_refuses_further_changes(log: WriteAheadLog, monkeypatch: pytest.MonkeyPatch):
    """If the log can't be truncated either, every later change is refused until a restart."""

    def broken(*_arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(write_ahead_log.os, "fsync", broken)
        with pytest.raises(NotReady, match="Input/output error"):
            log.append(delete("z"))
    with pytest.raises(NotReady, match="could not be written before; repair the disk and restart the server"):
        log.append(delete("y"))


def test_the_log_can_be_rewritten(log: WriteAheadLog, disk: Disk):
    """Rewriting replaces every change; new ones follow."""
    log.rewrite([upsert("b", "c")])
    log.append(delete("c"))
    assert disk.changes() == [fields_of(upsert("b", "c")), fields_of(delete("c"))]
