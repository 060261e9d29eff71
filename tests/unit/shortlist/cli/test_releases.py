"""Releases from a shell."""

from __future__ import annotations

from pathlib import Path

import pytest
from shortlist.cli.__main__ import main


def test_releases_of_a_store_are_listed(tiny_release: Path, capsys: pytest.CaptureFixture[str]):
    """The current one is marked; a folder that is no store is refused."""
    assert main(["releases", "list", str(tiny_release)]) == 0
    current = (tiny_release / "CURRENT").read_text().strip()
    assert capsys.readouterr().out.splitlines()[2].split()[:2] == ["current", current]
    assert main(["releases", "list", str(tiny_release / "nothing")]) == 1
    assert "is no release store" in capsys.readouterr().err
