"""Requests and answers of a batch, as plain Python values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shortlist.client.answers import Recommendations, recommendations
from shortlist.client.requests import Filter, HistoryItem, Policy, recommend_request
from shortlist.gateway.v1 import gateway_pb2


@dataclass(frozen=True)
class BatchRequest:
    """One request of a batch; the fields are the arguments of ``recommend``.

    Attributes:
        id: Your id of the request, given back with its answer, such as the user's.
        user_id: The user, whose recorded events are the history.
        query: What the user searches for.
        history: Items the user bought or viewed, oldest first.
        where: Which items may be recommended.
        limit: How many items to return, 1 to 500; None for 10.
        policy: Rules for the answer.
        explain: Whether items carry reasons.
    """

    id: str
    user_id: str = ""
    query: str = ""
    history: Sequence[str | HistoryItem] = ()
    where: Filter | None = None
    limit: int | None = None
    policy: Policy | None = None
    explain: bool = False


@dataclass(frozen=True)
class BatchAnswer:
    """The answer to one request of a batch.

    Attributes:
        id: The id of the request.
        recommendations: The recommendations; None if the request failed.
        error_code: gRPC's status code of the failure; 0 if there is none.
        error: What is wrong, and what to do; empty if nothing is.
    """

    id: str
    recommendations: Recommendations | None = None
    error_code: int = 0
    error: str = ""


def batch_messages(requests: Iterable[BatchRequest]) -> Iterator[gateway_pb2.BatchRecommendRequest]:
    """Yield the messages of requests, each when it is sent."""
    for each in requests:
        request = recommend_request(
            each.user_id, each.query, each.history, each.where, each.limit, each.policy, explain=each.explain
        )
        yield gateway_pb2.BatchRecommendRequest(id=each.id, request=request)


def batch_answer(message: gateway_pb2.BatchRecommendResponse) -> BatchAnswer:
    """Return one answer."""
    if message.HasField("error"):
        return BatchAnswer(message.id, None, message.error.code, message.error.message)
    return BatchAnswer(message.id, recommendations(message.response))
