"""Votes and judgements."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from common.errors import InvalidRequest
from pipeline.data.adapters import prepare
from services.playground.comparison.judgements import Judgement, Judgements, Vote
from services.playground.gateways.request import AskedRequest


def _judge(kept: Judgements, query: str, item: str, grade: int | None) -> None:
    kept.judge(Judgement(query=query, item_id=item, relevance=grade))


def test_the_latest_judgement_counts(tmp_path: Path):
    """A later grade replaces the earlier one, None takes it back, and a restart keeps all."""
    kept = Judgements(tmp_path)
    for item, grade in [("a", 1), ("b", 2), ("a", 3), ("c", 0), ("b", None)]:
        _judge(kept, " oat milk ", item, grade)
    again = Judgements(tmp_path)
    assert again.grades("oat milk") == {"a": 3, "c": 0}
    assert again.count() == 2


def test_the_pipeline_reads_them_as_judged_searches(tmp_path: Path):
    """The file next to a shop's items is the dataset's table of judgements."""
    kept = Judgements(tmp_path)
    _judge(kept, "oat\u2028milk", "a", 3)
    _judge(kept, "bread", "b", 0)
    (tmp_path / "items.csv").write_text("item_id,title\na,Oat milk\nb,Bread\n")
    dataset = prepare("table", tmp_path)
    judged = dataset.judgements
    assert judged is not None
    assert sorted(judged.select("item_id", pl.col("relevance").cast(int)).rows()) == [("a", 3), ("b", 0)]


def test_the_latest_vote_on_the_same_requests_counts(tmp_path: Path):
    """Wins are counted once for each pair of requests."""
    kept, left, right = Judgements(tmp_path), AskedRequest(query="a"), AskedRequest(query="b")
    for winner in ("left", "tie", "right"):
        kept.vote(Vote(left=left, right=right, winner=winner))
    kept.vote(Vote(left=right, right=left, winner="left"))
    assert Judgements(tmp_path).wins() == {"left": 1, "right": 1, "tie": 0}


def test_a_damaged_file_is_named_and_kept(tmp_path: Path):
    """A line that cannot be read is an error, not a lost vote."""
    (tmp_path / "judgements.jsonl").write_text('{"query": "a", "item_id": "b", "relevance": 1}\n{"query"')
    with pytest.raises(InvalidRequest, match=r"judgements\.jsonl, line 2"):
        Judgements(tmp_path)
