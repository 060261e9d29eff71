"""Values read from files, and read again when they change."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from common.security.reloaded import Reloaded


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with a number."""
    (tmp_path / "number").write_text("1")
    return tmp_path / "number"


def _numbers(*files: Path) -> Reloaded[int]:
    return Reloaded(files, lambda: sum(int(file.read_text()) for file in files), check_interval_s=0)


def test_a_change_is_read(file: Path):
    """A replaced file is read at the next use, and a file as it was is not read again."""
    numbers = _numbers(file)
    assert numbers.get() == 1
    file.write_text("20")
    assert numbers.get() == 20


def test_a_switched_link_is_a_change(tmp_path: Path):
    """A link that leads to another file of the same size is a change, as with secrets of Kubernetes."""
    for name in ("1", "2"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "1")
    numbers = _numbers(link)
    link.unlink()
    link.symlink_to(tmp_path / "2")
    assert numbers.get() == 2


def test_the_last_good_value_stays_until_all_files_fit(file: Path, tmp_path: Path):
    """A file that cannot be read changes nothing, is logged once, and is read as soon as it can be."""
    other = tmp_path / "other"
    other.write_text("2")
    numbers = _numbers(file, other)
    with capture_logs() as logs:
        file.write_text("half a num")
        assert [numbers.get(), numbers.get()] == [3, 3]
        file.unlink()
        assert numbers.get() == 3
    assert [line["log_level"] for line in logs] == ["warning", "warning"]
    file.write_text("5")
    assert numbers.get() == 7


def test_files_are_looked_at_once_an_interval(file: Path):
    """Within the interval the value is used without a look at the files."""
    numbers = Reloaded([file], lambda: int(file.read_text()), check_interval_s=3600)
    file.write_text("2")
    assert numbers.get() == 1


def test_the_first_value_must_be_readable(tmp_path: Path):
    """What is wrong at the start is an error at the start."""
    with pytest.raises(FileNotFoundError):
        _numbers(tmp_path / "missing")
