"""Asking and recording from a shell."""

from __future__ import annotations

import json
import re
from pathlib import Path

import grpc
import pytest
from shortlist.cli.__main__ import main
from shortlist.client.fake import FakeGateway
from shortlist.gateway.v1 import gateway_pb2

from testing.server_process import free_port


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


def test_a_repaired_query_is_told_above_the_table(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]):
    """The query that was used is printed with the option that refuses it, which is sent on."""
    gateway._recommend = lambda request: gateway_pb2.RecommendResponse(
        corrected_query="" if request.keep_query else "milk"
    )
    words = ["recommend", "--target", gateway.target, "--query", "mlik"]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("showing results for “milk”; --keep-query searches for what was typed\n")
    assert main([*words, "--keep-query"]) == 0
    assert "showing results" not in capsys.readouterr().out


def test_reasons_in_another_language_than_wanted_are_said(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]):
    """The language is sent; a note says if there are no reasons in it."""
    gateway._recommend = lambda request: gateway_pb2.RecommendResponse(
        language="zh" if request.language == "zh-CN" else "en"
    )
    words = ["recommend", "--target", gateway.target, "--explain", "--language"]
    assert main([*words, "zh-CN"]) == 0
    assert "note" not in capsys.readouterr().out
    assert main([*words, "fr"]) == 0
    assert capsys.readouterr().out.endswith("note: there are no reasons in 'fr'; they are in 'en'\n")


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


def test_a_bad_line_far_down_leaves_nothing_recorded(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """More events than one call takes stand before it; a time without a zone is not guessed."""
    good = json.dumps({"user_id": "u1", "kind": "view", "item_id": "tea"})
    bad = json.dumps({"user_id": "u1", "kind": "view", "item_id": "tea", "occurred_at": "2026-01-02T03:04:05"})
    events = tmp_path / "events.jsonl"
    events.write_text("\n".join([good] * 1_500 + [bad]))
    assert main(["record", "--target", gateway.target, "--file", str(events)]) == 1
    assert re.search("line 1501: .* has no time zone", capsys.readouterr().err)
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
