"""Records of answers; a running gateway's are in tests/unit/services/gateway/server/test_service_impressions.py."""

from __future__ import annotations

import json
import weakref

import pytest

from services.gateway.backends.stages import UserInput
from services.gateway.candidates import Candidate, RankedCandidate
from services.gateway.impressions.records import MAX_HISTORY, Impression
from services.gateway.profiles.pseudonyms import Pseudonyms
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.result import RecommendResult

PSEUDONYMS = Pseudonyms(b"k" * 32)


def _result(history: list[str]) -> RecommendResult:
    items = [RankedCandidate(Candidate("a", 0.25), 1, 0.5), RankedCandidate(Candidate("b", 0.125), 2, None)]
    user = UserInput(query="milk", history=history)
    return RecommendResult(items, [item.candidate for item in items], user, "r1", [], {"total": 3.0}, 0, 0)


def test_a_record_that_waits_keeps_neither_the_answer_nor_the_request():
    """Each has up to a thousand candidates and ten thousand ids, and ten thousand records may wait for the disk."""
    request, result = RecommendRequest(user_id="ann", placement="home"), _result(["x"] * 10_000)
    kept = weakref.ref(request), weakref.ref(result)
    record = Impression.of(request, result, "id", 7)
    del request, result
    assert [each() for each in kept] == [None, None]
    assert len(record.fields["history"]) == MAX_HISTORY


@pytest.mark.parametrize("user_id", ["ann", ""])
def test_a_line_has_what_was_shown_and_the_pseudonym(user_id: str):
    """Items are in order, each with its probability or else the first stage's score; a user is no clear text."""
    line = Impression.of(RecommendRequest(user_id=user_id), _result(["x", "y"]), "id", 7).line(PSEUDONYMS)
    record = json.loads(line)
    assert (record["items"], record["scores"]) == (["a", "b"], [0.5, 0.125])
    assert (record["history"], record["query"], record["total_ms"]) == (["x", "y"], "milk", 3.0)
    assert record["user"] == (PSEUDONYMS.of_user("ann") if user_id else "")
    assert "ann" not in line
