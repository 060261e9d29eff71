"""The program `shortlist` against a fake gateway."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from shortlist.cli.__main__ import main
from shortlist.client.fake import FakeGateway

from testing.server_process import free_port


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway(items=["milk", "bread", "eggs"]) as running:
        yield running


def test_recommendations_are_a_table(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]):
    """Items in order, with what the options said in the request."""
    words = ["--user", "u1", "--history", "eggs, tea", "--where", "brand=Acme", "--max-price", "5", "--limit", "2"]
    assert main(["recommend", "--target", gateway.target, *words, "--exclude-history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["#", "item", "title", "brand", "price", "probability"]
    assert [line.split()[1] for line in lines[2:4]] == ["milk", "bread"]
    (request,) = gateway.requests
    assert list(request.history_item_ids) == ["eggs", "tea"]
    assert request.policy.exclude_history
    assert [each.WhichOneof("kind") for each in request.filter.all_of.filters] == ["match", "range"]


def test_an_answer_can_be_read_by_programs(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]):
    assert main(["recommend", "--target", gateway.target, "--json"]) == 0
    assert [item["item_id"] for item in json.loads(capsys.readouterr().out)["items"]] == ["milk", "bread", "eggs"]


def test_events_are_recorded_from_options_and_files(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A file's events keep their ids and times, so that recording it again changes nothing."""
    assert main(["record", "--target", gateway.target, "--user", "u1", "--item", "milk", "--event-id", "e1"]) == 0
    events = tmp_path / "events.jsonl"
    line = {"event_id": "e2", "user_id": "u1", "kind": "view", "item_id": "tea", "occurred_at": "2026-01-02T03:04:05Z"}
    events.write_text(json.dumps(line) + "\n\n")
    for _ in range(2):
        assert main(["record", "--target", gateway.target, "--file", str(events)]) == 0
    assert gateway.events["e2"].occurred_at.ToJsonString() == "2026-01-02T03:04:05Z"
    assert capsys.readouterr().out.splitlines()[-1] == "recorded 0 events; 1 were known by their id"
    assert main(["forget", "--target", gateway.target, "u1"]) == 0
    assert not gateway.events


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 2"),
        ('{"user": "u1"}', "line 2.*'user'"),
        ('{"user_id": "u", "kind": "seen"}', "'seen' is not one of"),
    ],
)
def test_a_bad_line_is_named(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
):
    """Nothing of the batch is recorded."""
    events = tmp_path / "events.jsonl"
    events.write_text('{"user_id": "u1", "kind": "view", "item_id": "tea"}\n' + text + "\n")
    assert main(["record", "--target", gateway.target, "--file", str(events)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    assert re.search(said, error)
    assert not gateway.events


def test_errors_are_one_line(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]):
    """What failed and what to do, without a stack trace."""
    gateway.fail_next(grpc.StatusCode.INVALID_ARGUMENT, "limit must be at least 1")
    assert main(["recommend", "--target", gateway.target]) == 1
    assert main(["recommend", "--target", f"127.0.0.1:{free_port()}"]) == 1
    assert main(["recommend", "--target", gateway.target, "--where", "brand"]) == 1
    assert main(["record", "--target", gateway.target]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "limit must be at least 1" in lines[0]
    assert "check the target" in lines[1]
    assert "is not ATTRIBUTE=VALUE" in lines[2]
    assert "pass --user and --item, or --file" in lines[3]
    assert len(lines) == 4


def test_releases_of_a_store_are_listed(tiny_release: Path, capsys: pytest.CaptureFixture[str]):
    """The current one is marked; a folder that is no store is refused."""
    assert main(["releases", "list", str(tiny_release)]) == 0
    current = (tiny_release / "CURRENT").read_text().strip()
    assert capsys.readouterr().out.splitlines()[2].split()[:2] == ["current", current]
    assert main(["releases", "list", str(tiny_release / "nothing")]) == 1
    assert "is no release store" in capsys.readouterr().err


def test_commands_of_the_checkout_have_their_own_help(capsys: pytest.CaptureFixture[str]):
    assert main(["inspect", "--help"]) == 0
    said = capsys.readouterr().out
    assert "inspect [OPTIONS]" in said
    assert "--write" in said


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
