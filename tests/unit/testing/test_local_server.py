"""A service runs as a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import NotReady
from testing.local_server import local_server


def test_a_service_that_cannot_start_is_reported(tmp_path: Path):
    """The error names the service and ends with its log."""
    missing = tmp_path / "missing"
    with (
        pytest.raises(NotReady, match=r"(?s)^ranking did not start.*missing"),
        local_server("ranking", {"release": missing}, tmp_path / "ranking.log"),
    ):
        pytest.fail("the service started without a release")


def test_a_service_runs_while_the_body_runs(tiny_release: Path, tmp_path: Path):
    """It takes memory and processor time, and is gone afterwards."""
    with local_server("ranking", {"release": tiny_release}, tmp_path / "ranking.log") as server:
        assert server.start_s > 0
        assert server.cpu_s() > 0
        assert server.memory_bytes() > 10e6
    assert not Path(f"/proc/{server.pid}").exists()
