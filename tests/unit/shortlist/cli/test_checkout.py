"""The checkout's own programs."""

from __future__ import annotations

import pytest
from shortlist.cli.__main__ import main


def test_commands_of_the_checkout_have_their_own_help(capsys: pytest.CaptureFixture[str]):
    assert main(["inspect", "--help"]) == 0
    said = capsys.readouterr().out
    assert "inspect [OPTIONS]" in said
    assert "--write" in said
