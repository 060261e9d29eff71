"""Parsing candidates that are given as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from shortlist.ranking.v1 import ranking_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest, NotFound
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import Release
from services.ranking.server.request_messages import count_candidates, parse_columns

NAN = float("nan")


@pytest.fixture
def catalogue(ranking_release: Release) -> Catalogue:
    """The small release's items."""
    return Catalogue.open(ranking_release.file(CATALOGUE))


def _columns(item_ids: list[str], **fields: Any) -> ranking_pb2.CandidateColumns:
    return ranking_pb2.CandidateColumns(item_ids=item_ids, **fields)


def _source(name: str, scores: list[float]) -> retrieval_pb2.SourceColumn:
    return retrieval_pb2.SourceColumn(source=name, scores=scores)


def test_columns_become_rows_scores_and_texts(catalogue: Catalogue):
    """Scores that are not finite or not given are missing; sources that nobody reads are ignored."""
    ids = catalogue.item_ids
    sources = [_source("semantic", [0.5, float("inf"), NAN]), _source("unread", [1.0, 1.0, 1.0])]
    message = _columns(
        [ids[4], "", ids[2]], first_stage_scores=[3.0, NAN, 1e300], sources=sources, texts=["", "<b>soap</b>", "tea"]
    )
    parsed = parse_columns(message, catalogue, ["semantic", "popular"])
    assert parsed.rows.rows.tolist() == [4, -1, 2]
    assert parsed.texts == {1: "soap", 2: "tea"}
    np.testing.assert_array_equal(parsed.rows.first_stage_score, np.array([3.0, NAN, NAN], np.float32))
    np.testing.assert_array_equal(parsed.rows.sources["semantic"], np.array([0.5, NAN, NAN], np.float32))
    assert np.isnan(parsed.rows.sources["popular"]).all()
    assert set(parsed.rows.sources) == {"semantic", "popular"}
    assert np.isnan(parse_columns(_columns(ids[:2]), catalogue, ()).rows.first_stage_score).all()


def test_live_texts_count_for_columns_too(catalogue: Catalogue):
    """A changed or new item is read by its live text; a text of the request wins."""
    ids = catalogue.item_ids
    live = {ids[0]: "new text", "new": "new item", ids[2]: "ignored"}
    parsed = parse_columns(_columns([ids[0], "new", ids[2]], texts=["", "", "soap"]), catalogue, (), live)
    assert (parsed.rows.rows.tolist(), parsed.texts) == ([0, -1, 2], {0: "new text", 1: "new item", 2: "soap"})


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (_columns([]), "candidates: 1 to 2,000, has 0"),
        (_columns(["a"] * 2_001), "candidates: 1 to 2,000, has 2,001"),
        (_columns([""]), r"columns\[0\]: needs an item_id or a text"),
        (_columns(["a"], texts=["  "]), r"columns\[0\]\.text: must not be blank"),
        (_columns(["a"], texts=["b", "c"]), "columns.texts: 2 given for 1 items"),
        (_columns(["a"], first_stage_scores=[1, 2]), "columns.first_stage_scores: 2 given for 1 items"),
    ],
)
def test_columns_that_break_the_contract_are_named(
    catalogue: Catalogue, message: ranking_pb2.CandidateColumns, error: str
):
    """Each error says which list, and what it holds."""
    with pytest.raises(InvalidRequest, match=error):
        parse_columns(message, catalogue, ())


def test_a_column_of_a_source_has_a_score_for_each_item(catalogue: Catalogue):
    """Otherwise scores could go to the wrong items; unknown items are named as for candidates."""
    message = _columns(catalogue.item_ids[:2], sources=[_source("semantic", [1.0])])
    with pytest.raises(InvalidRequest, match=r"sources\['semantic'\]\.scores: 1 given for 2 items"):
        parse_columns(message, catalogue, ())
    with pytest.raises(NotFound, match="'gone'"):
        parse_columns(_columns([catalogue.item_ids[0], "gone"]), catalogue, ())


def test_candidates_come_in_one_form():
    """Both forms together, or an order for columns, are refused."""
    columns, candidates = _columns(["a", "b"]), [ranking_pb2.RankCandidate(item_id="c")]
    assert count_candidates(ranking_pb2.RankRequest(columns=columns)) == 2
    assert count_candidates(ranking_pb2.RankRequest(candidates=candidates)) == 1
    with pytest.raises(InvalidRequest, match="columns: given together with candidates"):
        count_candidates(ranking_pb2.RankRequest(columns=columns, candidates=candidates))
    with pytest.raises(InvalidRequest, match="sort: has no effect on columns"):
        count_candidates(ranking_pb2.RankRequest(columns=columns, sort=True))
