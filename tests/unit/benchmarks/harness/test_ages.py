"""How old recorded results are, in a small repository."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.harness.ages import ages_table, recorded_ages

_MODULES = {"served": "retrieval.served", "quality": "offline.quality"}


def _git(top: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    command = ["git", *identity, *arguments]
    answered = subprocess.run(command, cwd=top, check=True, capture_output=True, text=True)  # noqa: S603 - git
    return answered.stdout.strip()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return a repository with one commit."""
    for name in ("services/retrieval/search.py", "services/ranking/tiers.py", "benchmarks/retrieval/served.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old = 1\n")
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def _record(top: Path, name: str, commit: str) -> Path:
    results = top / "results"
    results.mkdir(exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps({"commit": commit}))
    return results


def test_a_result_is_as_old_as_the_code_that_it_measured(top: Path):
    """Only changes of what the benchmark runs count, and of the benchmark itself."""
    commit = _git(top, "rev-parse", "HEAD")
    results = _record(top, "served", commit)
    _record(top, "served-pq", f"{commit}-dirty")
    (top / "services/ranking/tiers.py").write_text("new = 1\n")
    assert [list(age.changed or ()) for age in recorded_ages(results, _MODULES, top).values()] == [[], []]
    (top / "services/retrieval/search.py").write_text("new = 1\n")
    (top / "benchmarks/retrieval/served.py").write_text("new = 1\n")
    changed = ["benchmarks/retrieval/served.py", "services/retrieval/search.py"]
    ages = recorded_ages(results, _MODULES, top)
    assert {name: age.changed for name, age in ages.items()} == {"served": changed, "served-pq": changed}
    assert ages_table(ages).row_count == 2


def test_a_commit_that_is_gone_is_unknown(top: Path):
    """A result of a commit that the repository does not have cannot be compared; it is listed."""
    ages = recorded_ages(_record(top, "quality", "0123456789ab"), _MODULES, top)
    assert ages["quality"].changed is None
    assert ages_table(ages).row_count == 1
