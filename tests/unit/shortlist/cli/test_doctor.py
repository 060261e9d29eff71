"""What the doctor finds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from shortlist.cli.__main__ import main
from shortlist.client.fake import FakeGateway

from testing.server_process import free_port


def test_the_doctor_names_what_is_wrong(
    gateway: FakeGateway, tiny_release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A release that lacks a file and a Redis that is not there fail; a line each, and an exit code."""
    assert main(["doctor", "--target", gateway.target, "--release", str(tiny_release)]) == 0
    assert "all files are there" in capsys.readouterr().out
    broken = tmp_path / "broken"
    shutil.copytree(tiny_release / (tiny_release / "CURRENT").read_text().strip(), broken)
    (broken / "catalogue.arrow").unlink()
    redis = f"127.0.0.1:{free_port()}"
    assert main(["doctor", "--target", gateway.target, "--release", str(broken), "--redis", redis]) == 1
    failures = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert ["catalogue.arrow" in failures[0], redis in failures[1], len(failures)] == [True, True, 2]
