"""Readers share, a writer excludes."""

from __future__ import annotations

import threading

import pytest

from services.retrieval.index.read_write_lock import ReadWriteLock


def test_readers_share():
    """Two readers hold the lock at the same time."""
    lock, both = ReadWriteLock(), threading.Barrier(2)

    def read() -> None:
        with lock.read():
            both.wait(30)

    reader = threading.Thread(target=read)
    reader.start()
    read()
    reader.join()
    assert not both.broken


def test_a_writer_excludes_and_goes_first():
    """A writer waits for the readers that are in, and later readers wait for the writer."""
    lock, order, waiting = ReadWriteLock(), [], threading.Event()

    def write() -> None:
        waiting.set()
        with lock.write():
            order.append("write")

    def read() -> None:
        with lock.read():
            order.append("read")

    with lock.read():
        writer = threading.Thread(target=write)
        writer.start()
        assert waiting.wait(30)
        while not lock._writers_waiting:
            writer.join(0.001)
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(0.02)
        assert order == []
    writer.join()
    reader.join()
    assert order == ["write", "read"]


def test_the_lock_is_free_after_an_error():
    """An error in the body lets go of the lock."""
    lock = ReadWriteLock()
    for side in (lock.read, lock.write):
        with pytest.raises(KeyError), side():
            raise KeyError
    with lock.write():
        pass
