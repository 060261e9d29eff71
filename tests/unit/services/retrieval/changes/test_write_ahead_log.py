"""The write-ahead log: what was acknowledged survives, what was torn is cut off, what is damaged is refused."""

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


def told(change: Change) -> tuple[object, ...]:
    """Return what a change says, to compare."""
    items = [vars(item) | {"vector": None} for item in change.items]
    return items, change.vectors.tolist(), change.vectors.shape, change.encoder, change.deleted


CHANGES = (upsert("a", "b"), delete("a"), upsert("c"))


class Disk:
    """A folder whose log is opened by one process after the other."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self.log: WriteAheadLog | None = None

    def start(self) -> WriteAheadLog:
        """Open the log as the next process does, the one before having ended."""
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
        return [told(change) for _, change in self.start().read()]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Return a folder with nothing in it."""
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
    """Every change is read back as it was, also by the next process, and further ones go behind them."""
    assert [told(change) for _, change in log.read()] == [told(change) for change in CHANGES]
    assert disk.changes() == [told(change) for change in CHANGES]
    log.append(delete("z"))
    assert [change.deleted for _, change in log.read()] == [(), ("a",), (), ("z",)]


def test_reading_goes_on_where_it_ended(log: WriteAheadLog):
    """A later read can start behind what was read before."""
    position = [end for end, _ in log.read()][1]
    assert [told(change) for _, change in log.read(position)] == [told(CHANGES[2])]
    assert list(log.read(log.end)) == []


def test_a_torn_tail_is_cut_off(log: WriteAheadLog, disk: Disk):
    """Wherever a crash cut the last record, it is cut off with a warning and the changes before it stay."""
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
    assert disk.changes() == [told(change) for change in CHANGES]


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("tail", [b"\0" * 5, b"\0" * 4_000, b"half a head"])
def test_a_tail_that_is_no_record_is_cut_off(disk: Disk, tail: bytes):
    """Zeros that a power cut left, and pieces of a head, are cut off."""
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
    """A flipped byte with changes behind it is no torn write: nothing is cut off, and the place is named."""
    whole = bytearray(disk.file.read_bytes())
    start = next(end for end, _ in log.read())
    whole[start + offset] ^= 0x40
    disk.file.write_bytes(whole)
    with pytest.raises(NotReady, match=rf"changes.log is damaged at byte {start}; restore it"):
        disk.start()
    assert disk.file.read_bytes() == whole
    disk.file.unlink()
    assert disk.changes() == []  # the refused log held on to nothing


@pytest.mark.parametrize("size", [0, 1, 29])
def test_a_crash_while_the_log_was_made(disk: Disk, size: int):
    """A file with less than the first line is a new log."""
    disk.start()
    disk.file.write_bytes(disk.file.read_bytes()[:size])
    disk.start().append(delete("a"))
    assert len(disk.changes()) == 1


def test_another_file_is_refused(disk: Disk):
    """A file that is no log of this version is left alone."""
    disk.file.write_text("my shopping list, with much to buy\n")
    with pytest.raises(NotReady, match=r"no log of this version; move it away or choose another --data-dir"):
        disk.start()


def test_one_process_at_a_time(log: WriteAheadLog, disk: Disk):
    """A second server on the same folder is refused."""
    assert log.end > 0
    with pytest.raises(NotReady, match=r"is in use by another server; choose another --data-dir"):
        WriteAheadLog(disk.file.parent)


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    """A folder that cannot be made is named."""
    (tmp_path / "file").touch()
    with pytest.raises(NotReady, match=r"can't be kept in .*file/log"):
        WriteAheadLog(tmp_path / "file" / "log")


def test_a_full_disk_changes_nothing(log: WriteAheadLog, disk: Disk, monkeypatch: pytest.MonkeyPatch):
    """A change that can't be written is refused and leaves no trace, and the log works once there is room."""

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


def test_a_broken_disk_refuses_further_changes(log: WriteAheadLog, monkeypatch: pytest.MonkeyPatch):
    """Where not even the state before can be restored, every later change is refused until a restart."""

    def broken(*_arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(write_ahead_log.os, "fsync", broken)
        with pytest.raises(NotReady, match="Input/output error"):
            log.append(delete("z"))
    with pytest.raises(NotReady, match="could not be written before; restart the server"):
        log.append(delete("y"))


def test_the_log_can_be_rewritten(log: WriteAheadLog, disk: Disk):
    """Rewriting replaces every change, and the log goes on from there."""
    log.rewrite([upsert("b", "c")])
    log.append(delete("c"))
    assert disk.changes() == [told(upsert("b", "c")), told(delete("c"))]
