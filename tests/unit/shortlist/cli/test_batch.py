"""Recommendations for many users, from a file into a file."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from shortlist.cli.__main__ import main
from shortlist.client.fake import FakeGateway


def test_a_broken_run_goes_on_where_it_ended(gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """What was answered is not asked again; what failed is."""
    users, out = tmp_path / "users", tmp_path / "answers.jsonl"
    users.write_text('u1\n\n{"id": "second", "user_id": "u2", "query": "milk", "limit": 2}\nu3\n')
    words = ["batch", "--target", gateway.target, str(users), "--out", str(out), "--limit", "1"]
    gateway.fail_next(grpc.StatusCode.INTERNAL, "a fault")
    assert main(words) == 1
    assert capsys.readouterr().out.startswith("2 answered, 1 failed, 0 were answered before")
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("1 answered, 0 failed, 2 were answered before")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["u1", "second", "u3", "u1"]
    assert lines[0]["error"] == "a fault"
    assert [item["item_id"] for item in lines[1]["items"]] == ["milk", "bread"]
    assert [item["item_id"] for item in lines[3]["items"]] == ["milk"]


@pytest.mark.parametrize(("text", "said"), [("u1\n{", "line 2"), ('{"query": "x"}', "neither id nor user_id")])
def test_a_bad_line_is_named_before_anything_is_asked(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
):
    users = tmp_path / "users"
    users.write_text(text)
    assert main(["batch", "--target", gateway.target, str(users), "--out", str(tmp_path / "out")]) == 1
    assert said in capsys.readouterr().err
    assert not gateway.requests


def test_a_file_of_something_else_is_not_added_to(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    users, out = tmp_path / "users", tmp_path / "out"
    users.write_text("u1\n")
    out.write_text("something else\n")
    assert main(["batch", "--target", gateway.target, str(users), "--out", str(out)]) == 1
    assert "has a line that is no answer" in capsys.readouterr().err
    assert out.read_text() == "something else\n"
