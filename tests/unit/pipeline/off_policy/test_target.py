"""What a real release would show in answer to logged requests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from common.release.store import open_release
from pipeline.__main__ import app
from pipeline.data.impressions.log_reader import read_log
from pipeline.off_policy.target import target_answers
from pipeline.progress import ProgressReport
from testing.online.impression_logs import answer_record, write_log

POOL = ["dairy-milk-red-0", "fruit-pear-small-1", "unknown"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log of two answers whose second position was drawn from a pool of three."""
    given = {"propensities": [0.5, 0.25], "pool": POOL}
    records = [
        answer_record("a", POOL[:2], history=["fruit-pear-small-1"] * 3, history_kinds=[3] * 3, **given),
        answer_record("b", [POOL[0], POOL[2]], query="red milk", **given),
    ]
    return write_log(tmp_path / "log", records)


def test_a_release_answers_as_many_items_as_were_shown(log: Path, tiny_release: Path):
    """By itself it shows its best items; within the pool it orders the pool, and what it does not find comes last."""
    release, answers = open_release(str(tiny_release)), read_log([log]).answers
    report = ProgressReport(Console(quiet=True))
    free = target_answers(release, answers, report, within_pool=False)
    assert [len(items) for items in free] == [2, 2]
    within = target_answers(release, answers, report, within_pool=True)
    assert within[0][0] == "fruit-pear-small-1"
    assert within[1][-1] != "unknown"
    assert all(set(items) <= set(POOL) for items in within)


def test_the_command_refuses_what_the_log_cannot_tell(log: Path, tiny_release: Path, tmp_path: Path):
    """`estimate` asks the release, writes the result, and exits with 3 if there is no estimate."""
    store = shutil.copytree(tiny_release, tmp_path / "store")
    out = tmp_path / "result.json"
    arguments = ["estimate", "--log", str(log), "--release", str(store), "--json", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 3, result.output
    assert '"faults"' in out.read_text()
