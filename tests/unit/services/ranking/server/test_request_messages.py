"""Parsing requests."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from shortlist.ranking.v1 import ranking_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.errors import InvalidRequest, NotFound
from common.release.catalogue import Catalogue
from common.release.event_weights import EventWeights
from common.release.layout import CATALOGUE
from common.release.store import Release
from services.ranking.request import Priority
from services.ranking.server.request_messages import (
    parse_candidates,
    parse_explained,
    parse_min_depth,
    parse_priority,
    parse_user,
)


@pytest.fixture
def catalogue(ranking_release: Release) -> Catalogue:
    """The small release's items."""
    return Catalogue.open(ranking_release.file(CATALOGUE))


def _candidate(item_id: str = "", **fields: Any) -> ranking_pb2.RankCandidate:
    return ranking_pb2.RankCandidate(item_id=item_id, **fields)


def test_a_users_history_is_in_rows(catalogue: Catalogue):
    """Known items become rows, oldest first and with repeats; unknown ones are counted."""
    ids = catalogue.item_ids
    user = parse_user(
        ranking_pb2.UserContext(query="milk", history_item_ids=[ids[3], "gone", ids[3], ids[1]]), catalogue
    )
    assert (user.rows.history.tolist(), user.rows.query, user.ignored_items) == ([3, 3, 1], "milk", 1)


def test_a_history_has_kinds_and_ages(catalogue: Catalogue):
    """Events count as the release says; unknown items and kinds that do not count are left out with their ages."""
    ids, weights = catalogue.item_ids, EventWeights(weights={"view": 0.25, "cart": 0.0}, targets=("purchase",))
    message = ranking_pb2.UserContext(
        history_item_ids=[ids[3], "gone", ids[2], ids[1], ids[0]],
        history_kinds=[
            retrieval_pb2.EVENT_KIND_VIEW,
            retrieval_pb2.EVENT_KIND_VIEW,
            retrieval_pb2.EVENT_KIND_CART,
            retrieval_pb2.EVENT_KIND_PURCHASE,
            retrieval_pb2.EVENT_KIND_UNSPECIFIED,
        ],
        history_ages_s=[5.0, 4.0, 3.0, 2.0, math.nan],
    )
    user = parse_user(message, catalogue, weights)
    assert (user.rows.history.tolist(), user.ignored_items) == ([3, 1, 0], 1)
    assert user.rows.events is not None
    assert user.rows.events.weights.tolist() == [0.25, 1.0, 1.0]
    assert user.rows.events.targets.tolist() == [False, True, True]
    np.testing.assert_array_equal(user.rows.ages_s, [5.0, 2.0, math.nan])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"history_kinds": [1]}, "user.history_kinds: 1 given for 2 items"),
        ({"history_kinds": [3, 4]}, "user.history_kinds[1]: 4 is no kind of event in a history"),
        ({"history_ages_s": [1.0]}, "user.history_ages_s: 1 given for 2 items; give one for each, or none"),
    ],
)
def test_kinds_and_ages_that_do_not_fit_are_refused(catalogue: Catalogue, fields: dict[str, Any], message: str):
    """One kind and one age for each item, or none."""
    user = ranking_pb2.UserContext(history_item_ids=catalogue.item_ids[:2], **fields)
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        parse_user(user, catalogue)


def test_candidates_are_rows_or_texts(catalogue: Catalogue):
    """A candidate is a row of the catalogue, a text, or a row with another text."""
    ids = catalogue.item_ids
    parsed = parse_candidates(
        [_candidate(ids[2]), _candidate(text="soap"), _candidate(ids[5], text="bread")], catalogue, ()
    )
    assert parsed.rows.rows.tolist() == [2, -1, 5]
    assert parsed.texts == {1: "soap", 2: "bread"}


def test_scores_are_finite_or_missing(catalogue: Catalogue):
    """Scores of the sources that the features read are taken; missing and infinite ones are NaN."""
    score = retrieval_pb2.SourceScore
    sources = [score(source="semantic", score=0.5), score(source="unread", score=1.0)]
    messages = [
        _candidate(catalogue.item_ids[0], sources=sources, first_stage_score=1e300),
        _candidate(
            catalogue.item_ids[1], sources=[score(source="semantic", score=float("inf"))], first_stage_score=2.0
        ),
    ]
    rows = parse_candidates(messages, catalogue, ["semantic", "popular"]).rows
    np.testing.assert_array_equal(rows.first_stage_score, np.array([np.nan, 2.0], np.float32))
    np.testing.assert_array_equal(rows.sources["semantic"], np.array([0.5, np.nan], np.float32))
    assert np.isnan(rows.sources["popular"]).all()
    assert set(rows.sources) == {"semantic", "popular"}


def test_live_texts_replace_the_releases(catalogue: Catalogue):
    """A changed or new item is read by its live text, an unchanged one by the release's; the request's text wins."""
    ids = catalogue.item_ids
    live = {ids[0]: "new text", ids[1]: catalogue.text(1), "new": "new item", ids[2]: "ignored"}
    messages = [_candidate(ids[0]), _candidate(ids[1]), _candidate("new"), _candidate(ids[2], text="soap")]
    parsed = parse_candidates(messages, catalogue, (), live)
    assert parsed.rows.rows.tolist() == [0, 1, -1, 2]
    assert parsed.texts == {0: "new text", 2: "new item", 3: "soap"}


def test_unknown_candidates_are_named(catalogue: Catalogue):
    """The error names the first five."""
    with pytest.raises(NotFound, match=r"'gone-0', .*'gone-4' and 2 more"):
        parse_candidates([_candidate(f"gone-{number}") for number in range(7)], catalogue, ())


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], r"candidates: 1 to 2,000, has 0"),
        ([_candidate(text="x"), _candidate()], r"candidates\[1\]: needs an item_id or a text"),
        ([_candidate(text="  ")], r"candidates\[0\]\.text: must not be blank"),
    ],
)
def test_bad_candidates_are_refused(catalogue: Catalogue, messages: Any, message: str):
    """The error names the candidate by its index."""
    with pytest.raises(InvalidRequest, match=message):
        parse_candidates(messages, catalogue, ())


def test_a_candidate_to_explain_is_required(catalogue: Catalogue):
    """It is parsed like a candidate to rank."""
    with pytest.raises(InvalidRequest, match="candidate: required"):
        parse_explained(ranking_pb2.ExplainRequest(), catalogue, ())
    parsed = parse_explained(ranking_pb2.ExplainRequest(candidate=_candidate(text="soap")), catalogue, ())
    assert (parsed.rows.rows.tolist(), parsed.texts) == ([-1], {0: "soap"})


def test_a_candidate_to_explain_stands_at_its_index(catalogue: Catalogue):
    """The others keep their order around it; errors name the others by their own index."""
    first, second, third = catalogue.item_ids[:3]
    others = [_candidate(first), _candidate(text="tea"), _candidate(third)]
    request = ranking_pb2.ExplainRequest(candidate=_candidate(second, text="soap"), other_candidates=others, index=1)
    parsed = parse_explained(request, catalogue, ())
    assert parsed.rows.rows.tolist() == [0, 1, -1, 2]
    assert parsed.texts == {1: "soap", 2: "tea"}
    request.index = 4
    with pytest.raises(InvalidRequest, match="index: at most 3, the number of other candidates, is 4"):
        parse_explained(request, catalogue, ())
    request = ranking_pb2.ExplainRequest(candidate=_candidate("a"), other_candidates=[_candidate("a")] * 2_000)
    with pytest.raises(InvalidRequest, match="other_candidates: at most 1,999"):
        parse_explained(request, catalogue, ())
    request = ranking_pb2.ExplainRequest(candidate=_candidate("a"), other_candidates=[_candidate()])
    with pytest.raises(InvalidRequest, match=r"other_candidates\[0\]: needs an item_id or a text"):
        parse_explained(request, catalogue, ())


def test_priorities_are_those_of_the_contract():
    """An unset priority is interactive; an unknown one is refused."""
    assert parse_priority(ranking_pb2.RankRequest()) is Priority.INTERACTIVE
    assert parse_priority(ranking_pb2.RankRequest(priority=ranking_pb2.PRIORITY_BATCH)) is Priority.BATCH
    with pytest.raises(InvalidRequest, match="priority: 9"):
        parse_priority(ranking_pb2.RankRequest(priority=9))  # type: ignore[arg-type]


def test_the_minimum_depth_is_at_most_what_may_be_read():
    """Neither more than the depth nor than the candidates."""
    request = ranking_pb2.RankRequest(candidates=[_candidate("a"), _candidate("b")], min_cross_encoder_depth=2)
    assert parse_min_depth(request, depth=5) == 2
    with pytest.raises(InvalidRequest, match="min_cross_encoder_depth: at most 1"):
        parse_min_depth(request, depth=1)


def test_queries_and_texts_are_plain(catalogue: Catalogue):
    """Markup and entities leave a query and a candidate's text; a text of nothing but tags is blank."""
    assert parse_user(ranking_pb2.UserContext(query="<b>tea</b> &amp; R&D"), catalogue).rows.query == "tea & R&D"
    assert parse_user(ranking_pb2.UserContext(query="ｇｒｅｅｎ\u200b  Tea"), catalogue).rows.query == "green Tea"
    assert parse_candidates([_candidate(text="<p>soap</p>")], catalogue, ()).texts == {0: "soap"}
    with pytest.raises(InvalidRequest, match=r"candidates\[0\]\.text: must not be blank"):
        parse_candidates([_candidate(text="<br>")], catalogue, ())
