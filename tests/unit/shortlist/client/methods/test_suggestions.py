"""Suggestions, as callers see them."""

from __future__ import annotations

from shortlist.client import Suggestion
from shortlist.client.methods.suggestions import suggestions
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2


def test_an_answer_is_plain_values():
    """A kind of a later version is unknown."""
    kinds = [retrieval_pb2.SUGGESTION_KIND_CATEGORY, 99]
    messages = [retrieval_pb2.Suggestion(text="a", kind=kind, corrected_words=1, popularity=0.5) for kind in kinds]  # type: ignore[arg-type]
    answer = suggestions(gateway_pb2.CompleteResponse(suggestions=messages, release_id="r1", request_id="q1"))
    assert list(answer) == [Suggestion("a", "category", "", 1, 0.5), Suggestion("a", "unknown", "", 1, 0.5)]
    assert (len(answer), answer.release_id, answer.request_id) == (2, "r1", "q1")
