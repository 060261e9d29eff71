"""Both clients against a server with the real contract."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.client import (
    Client,
    DeadlineExceeded,
    Event,
    HistoryItem,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    Policy,
    RecordedEvents,
    Unauthenticated,
    Unavailable,
    all_of,
    match,
    none_of,
    price_range,
)
from shortlist.client.fake import FakeGateway
from shortlist.gateway.v1 import gateway_pb2

from testing.server_process import free_port

PYTHON = Path(__file__).parents[4] / "clients" / "python"


def test_an_answer_has_items_in_order(client: Any):
    """Items, probabilities and the release are plain values."""
    answer = client.recommend(user_id="u1", limit=2)
    assert [item.item_id for item in answer] == ["milk", "bread"]
    assert (len(answer), answer.release_id, answer.degradations) == (2, "fake", ())
    assert answer.items[0].probability == pytest.approx(0.5)
    assert answer.items[0].price is None


def test_a_repaired_query_is_told_and_can_be_refused(client: Any, gateway: FakeGateway):
    """An answer says which query was used, and the caller can ask for the query as it is spelled."""
    corrected = gateway_pb2.RecommendResponse(corrected_query="milk")
    gateway._recommend = lambda request: gateway_pb2.RecommendResponse() if request.keep_query else corrected
    assert client.recommend(query="mlik").corrected_query == "milk"
    assert client.recommend(query="mlik", keep_query=True).corrected_query == ""


def test_every_argument_reaches_the_server(client: Any, gateway: FakeGateway):
    """The request is what the arguments say, with kinds and ages only where an item has them."""
    where = all_of(match("brand", "Acme", True), none_of(price_range(max_price=2.5)))
    policy = Policy(min_probability=0.1, blocked_item_ids=["eggs"], max_per_brand=2, stages="first")
    history = ["milk", HistoryItem("bread", "view", 60.0)]
    client.recommend(user_id="u1", query="q", history=history, where=where, limit=3, policy=policy, explain=True)
    (request,) = gateway.requests
    assert not request.keep_query
    assert (request.user_id, request.query, request.limit, request.explain) == ("u1", "q", 3, True)
    assert list(request.history_item_ids) == ["milk", "bread"]
    assert list(request.history_kinds) == [gateway_pb2.EVENT_KIND_PURCHASE, gateway_pb2.EVENT_KIND_VIEW]
    assert request.history_ages_s[1] == 60.0
    assert list(request.filter.all_of.filters[0].match.values) == ["Acme", "true"]
    assert request.filter.all_of.filters[1].none_of.filters[0].range.max == 2.5
    assert request.policy == gateway_pb2.Policy(
        min_probability=0.1, blocked_item_ids=["eggs"], max_per_brand=2, stages=gateway_pb2.STAGES_FIRST
    )
    client.recommend(history=["milk"])
    assert not gateway.requests[1].history_kinds
    assert not gateway.requests[1].HasField("policy")


def test_a_text_is_no_history(client: Any):
    with pytest.raises(TypeError, match="list of item ids, not the text 'milk'"):
        client.recommend(history="milk")


def test_events_are_recorded_once(client: Any, gateway: FakeGateway):
    """A retry after a lost answer sends the same ids; a second call with other ids is another event."""
    event = Event("u1", "purchase", "milk", occurred_at=datetime(2026, 1, 2, tzinfo=UTC))
    gateway.fail_next(grpc.StatusCode.UNAVAILABLE, "starting")
    assert client.record(event) == RecordedEvents(1, 0)
    assert client.record([event, Event("u1", "search", query="tea")]) == RecordedEvents(1, 1)
    recorded = gateway.events[event.event_id]
    assert (recorded.user_id, recorded.item_id, recorded.occurred_at.ToJsonString()) == (
        "u1",
        "milk",
        "2026-01-02T00:00:00Z",
    )
    assert client.forget_user("u1") == 2


def test_many_events_go_in_several_calls(client: Any, gateway: FakeGateway):
    assert client.record(Event("u1", "view", str(number)) for number in range(2_001)) == RecordedEvents(2_001, 0)
    assert len(gateway.events) == 2_001


def test_an_explanation_names_the_place(client: Any):
    assert client.explain("bread", user_id="u1").rank == 2
    with pytest.raises(NotFound, match="tea is not among the candidates"):
        client.explain("tea")


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequest, "correct the request"),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated, "token="),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded, "again"),
        (grpc.StatusCode.UNIMPLEMENTED, InternalError, "log"),
    ],
)
def test_errors_are_typed_and_say_what_to_do(client: Any, gateway: FakeGateway, code: Any, error: Any, advice: str):
    """Statuses that another attempt cannot change are raised at once."""
    gateway.fail_next(code, "the details")
    with pytest.raises(error, match=f"{code.name}: the details.*{advice}") as raised:
        client.recommend()
    assert raised.value.code is code
    assert not gateway.requests


def test_attempts_end(make_client: Any, gateway: FakeGateway):
    """After `max_retries` failures the error is raised; with none left the next call works."""
    client = make_client(gateway.target, timeout_s=30, max_retries=2)
    gateway.fail_next(grpc.StatusCode.UNAVAILABLE, "down", times=3)
    with pytest.raises(Unavailable, match="down"):
        client.recommend()
    assert len(client.recommend()) == 3


def test_nobody_listens(make_client: Any):
    with pytest.raises(Unavailable, match="check the target"):
        make_client(f"127.0.0.1:{free_port()}", timeout_s=30, max_retries=0).recommend()


def test_a_late_answer_is_a_deadline(make_client: Any):
    """The time covers the whole call."""

    def late(_: gateway_pb2.RecommendRequest) -> gateway_pb2.RecommendResponse:
        finish.wait(30)
        return gateway_pb2.RecommendResponse()

    finish = threading.Event()
    with FakeGateway(recommend=late) as gateway:
        with pytest.raises(DeadlineExceeded, match="timeout_s"):
            make_client(gateway.target, timeout_s=0.2).recommend()
        finish.set()


def test_a_token_provider_is_asked_for_each_attempt(make_client: Any, gateway: FakeGateway):
    """A token that was renewed between attempts is used."""
    given = []

    def token() -> str:
        given.append(str(len(given)))
        return given[-1]

    gateway.fail_next(grpc.StatusCode.UNAVAILABLE)
    make_client(gateway.target, timeout_s=30, token=token).recommend()
    assert given == ["0", "1"]


def test_a_forked_worker_has_its_own_connection(gateway: FakeGateway):
    """A child of a process that has called uses no connection of its parent."""
    program = (
        "import os, sys\n"
        "from shortlist.client import Client\n"
        f"client = Client({gateway.target!r}, timeout_s=30)\n"
        "assert len(client.recommend()) == 3\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if len(client.recommend()) == 3 else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or len(client.recommend()) - 3)\n"
    )
    command = [sys.executable, "-c", program]
    finished = subprocess.run(command, env=os.environ, timeout=120, check=False)  # noqa: S603 - our own interpreter
    assert finished.returncode == 0


def test_the_blocking_client_is_made_from_the_other():
    """`make client` was run after the last change."""
    spec = importlib.util.spec_from_file_location("make_sync_client", PYTHON / "make_sync_client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for file, made in module.made_sources().items():
        assert ast.dump(ast.parse(made)) == ast.dump(ast.parse(file.read_text())), "run `make client`"
    assert Client.__doc__ is not None
