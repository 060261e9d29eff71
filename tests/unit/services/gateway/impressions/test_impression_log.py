"""The log's thread: records reach the disk in order, or are counted as lost."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.gateway.impressions.impression_log import ImpressionLog
from services.gateway.impressions.log_files import PATTERN, LogLimits
from services.gateway.profiles.pseudonyms import Pseudonyms

PSEUDONYMS = Pseudonyms(bytes(32))


@dataclass
class _Record:
    """A line that can hold the writing thread up, or fail."""

    text: str
    gate: threading.Event | None = None
    reached: threading.Event = field(default_factory=threading.Event)

    def line(self, pseudonyms: Pseudonyms) -> str:
        assert pseudonyms is PSEUDONYMS
        self.reached.set()
        if self.gate is not None:
            self.gate.wait()
        if self.text == "bad":
            raise OSError(28, "No space left on device")
        return self.text + "\n"


def _written(folder: Path) -> list[str]:
    return [line for file in sorted(folder.glob(PATTERN)) for line in file.read_text().splitlines()]


async def test_records_are_written_in_order(tmp_path: Path):
    """When the log is closed, every record is on the disk."""
    log = ImpressionLog(tmp_path, PSEUDONYMS, LogLimits())
    for number in range(3_000):
        log.write(_Record(str(number)))
    await log.close()
    assert _written(tmp_path) == [str(number) for number in range(3_000)]
    assert (log.written, log.lost) == (3_000, 0)


async def test_records_beyond_the_bound_are_counted_as_lost(tmp_path: Path):
    """While the disk is busy, no more than the bound waits, and `write` returns at once."""
    log = ImpressionLog(tmp_path, PSEUDONYMS, LogLimits(), max_waiting=2)
    busy = _Record("first", threading.Event())
    log.write(busy)
    assert busy.reached.wait(60)
    for text in ("a", "b", "c", "d"):
        log.write(_Record(text))
    assert log.lost == 2
    assert busy.gate is not None
    busy.gate.set()
    await log.close()
    log.write(_Record("late"))
    assert _written(tmp_path) == ["first", "a", "b"]
    assert (log.written, log.lost) == (3, 3)


async def test_a_refused_record_does_not_end_the_log(tmp_path: Path):
    """Records that the disk refuses are lost and counted; the next ones are written."""
    log = ImpressionLog(tmp_path, PSEUDONYMS, LogLimits())
    bad = _Record("bad", threading.Event())
    log.write(bad)
    assert bad.reached.wait(60)
    log.write(_Record("good"))
    assert bad.gate is not None
    bad.gate.set()
    await log.close()
    assert _written(tmp_path) == ["good"]
    assert (log.written, log.lost) == (1, 1)


async def test_a_user_is_erased_after_what_was_queued_before(tmp_path: Path):
    """Records of the user that wait for the disk are erased too."""
    log = ImpressionLog(tmp_path, PSEUDONYMS, LogLimits())
    line = f'{{"user":"{PSEUDONYMS.of_user("ann")}"}}'
    for text in (line, '{"user":"other"}', line):
        log.write(_Record(text))
    assert await log.erase_user("ann") == 2
    await log.close()
    assert _written(tmp_path) == ['{"user":"other"}']


async def test_an_erasure_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The caller gets the error, and the log goes on."""
    log = ImpressionLog(tmp_path, PSEUDONYMS, LogLimits())
    log.write(_Record('{"user":"ann"}'))

    def refuse(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(log._files, "erase", refuse)
    with pytest.raises(OSError, match="Input/output"):
        await log.erase_user("ann")
    monkeypatch.undo()
    assert await log.erase_user("nobody") == 0
    await log.close()
