"""The files of the log: begun, closed and erased by size and age."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from services.gateway.impressions.log_files import PATTERN, BadImpressionsLog, LogFiles, LogLimits


def _lines(folder: Path) -> list[list[str]]:
    return [file.read_text().splitlines() for file in sorted(folder.glob(PATTERN))]


def test_files_are_closed_by_size_and_by_age(tmp_path: Path):
    """The next file is begun once one is large enough or old enough."""
    now_s = [1_000.0]
    files = LogFiles(tmp_path / "log", LogLimits(max_file_mib=20 / 2**20, max_file_s=60), lambda: now_s[0])
    files.append(["a\n"])
    files.append(["b" * 30 + "\n"])
    files.append(["c\n"])
    files.rotate_if_old()
    files.append(["d\n"])
    now_s[0] += 60
    files.rotate_if_old()
    files.append(["e\n"])
    files.close()
    assert _lines(tmp_path / "log") == [["a", "b" * 30], ["c", "d"], ["e"]]


def test_the_oldest_files_are_erased(tmp_path: Path):
    """Files beyond the size of all, or older than the age, are erased; the latest stay."""
    files = LogFiles(tmp_path, LogLimits(max_mib=25 / 2**20, max_age_s=1e9))
    for letter in "abc":
        files.append([letter * 10 + "\n"])
        files.rotate()
    assert _lines(tmp_path) == [["b" * 10], ["c" * 10]]
    oldest = min(tmp_path.glob(PATTERN))
    os.utime(oldest, (1, 1))
    files.rotate()
    files.close()
    assert _lines(tmp_path) == [["c" * 10]]


def test_old_files_are_erased_while_nothing_is_written(tmp_path: Path):
    """Age counts without traffic too."""
    now_s = [1_000.0]
    files = LogFiles(tmp_path, LogLimits(max_age_s=10), lambda: now_s[0])
    files.append(["a\n"])
    files.rotate()
    os.utime(next(tmp_path.glob(PATTERN)), (1_000, 1_000))
    now_s[0] += 601
    files.rotate_if_old()
    files.close()
    assert not _lines(tmp_path)


def test_a_users_lines_are_erased(tmp_path: Path):
    """Every line of the user is gone from every file, and the lines of others stay as they were."""
    files = LogFiles(tmp_path, LogLimits())
    files.append(['{"user":"ann"}\n', '{"user":"bob"}\n'])
    files.rotate()
    files.append(['{"user":"ann"}\n', '{"user":"annabel"}\n'])
    assert files.erase("ann") == 2
    files.append(['{"user":"cem"}\n'])
    files.close()
    assert _lines(tmp_path) == [['{"user":"bob"}'], ['{"user":"annabel"}'], ['{"user":"cem"}']]


def test_erasing_a_user_does_not_keep_the_others_for_longer(tmp_path: Path):
    """A file from which a user was erased is as old as before."""
    files = LogFiles(tmp_path, LogLimits())
    files.append(['{"user":"ann"}\n', '{"user":"bob"}\n'])
    files.rotate()
    (file,) = tmp_path.glob(PATTERN)
    os.utime(file, (time.time(), time.time() - 60))
    before = file.stat().st_mtime
    assert files.erase("ann") == 1
    files.close()
    assert file.stat().st_mtime == before


def test_what_a_crash_has_left_of_an_erasure_is_erased(tmp_path: Path):
    """Otherwise no later erasure and no bound would reach its lines."""
    (tmp_path / ".shown-0000000000000001-000001.jsonl").write_text('{"user":"bob"}\n')
    LogFiles(tmp_path, LogLimits()).close()
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_two_gateways_need_two_folders(tmp_path: Path):
    """The second is refused while the first writes, and accepted afterwards."""
    first = LogFiles(tmp_path, LogLimits())
    with pytest.raises(BadImpressionsLog, match="its own folder"):
        LogFiles(tmp_path, LogLimits())
    first.close()
    LogFiles(tmp_path, LogLimits()).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    """A file in the way is an error that names the folder and the flag."""
    (tmp_path / "file").touch()
    with pytest.raises(BadImpressionsLog, match="--impressions-log"):
        LogFiles(tmp_path / "file" / "log", LogLimits())


def test_a_refused_write_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """After an error the next lines go to another file, so that no line is joined to a torn one."""
    files = LogFiles(tmp_path, LogLimits())
    files.append(["a\n"])

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        files.append(["b\n"])
    monkeypatch.undo()
    files.append(["c\n"])
    files.close()
    assert _lines(tmp_path)[1] == ["c"]
