"""The checkout's own programs."""

from __future__ import annotations

import subprocess
import sys


def test_commands_of_the_checkout_have_their_own_help():
    command = [sys.executable, "-m", "shortlist.cli", "inspect", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603 - our program
    assert "inspect [OPTIONS]" in said.stdout
    assert "--write" in said.stdout
