"""Releases from a shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_releases_of_a_store_are_listed(tiny_release: Path):
    """The checkout's own list is printed, for the store that is named."""
    command = [sys.executable, "-m", "shortlist.cli", "releases", "list", str(tiny_release)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603 - our program
    assert (tiny_release / "CURRENT").read_text().strip() in said.stdout
