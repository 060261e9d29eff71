"""Completion in shells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from shortlist.cli.__main__ import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert "recommend" in text
    assert "rollback" in text
    assert ("-l exclude-history" if shell == "fish" else "--exclude-history") in text


def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A real bash completes a command and an option."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.sh"
    asked = 'COMP_WORDS=(shortlist {0}); COMP_CWORD={1}; _shortlist; echo "${{COMPREPLY[@]}}"\n'
    script.write_text(capsys.readouterr().out + asked.format("recom", 1) + asked.format("recommend --expl", 2))
    said = subprocess.run([bash, str(script)], capture_output=True, text=True, check=True)  # noqa: S603 - our script
    assert said.stdout.splitlines() == ["recommend", "--explain"]
