"""What a caller, the metrics and the log learn of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from shortlist.release.v1 import release_pb2, release_pb2_grpc
from structlog.testing import capture_logs

from common import errors
from common.server.telemetry import Metrics, request_id

METHOD = "/shortlist.release.v1.ReleaseService/ActivateRelease"
Call = Callable[..., Any]


@pytest.fixture
def call(calling: Any, fake_service: Any) -> Call:
    """Return a function that has a server answer one call by a behaviour, and returns the finished call."""

    async def make(behaviour: Any, **options: Any) -> grpc.aio.Call:
        async with calling(fake_service(behaviour)) as (_, channel):
            stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
            made = stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location="x"), **options)
            await made.code()
            return made

    return make


def raising(error: Exception) -> Any:
    """Return a behaviour that raises."""

    async def behaviour(*_: Any) -> None:
        raise error

    return behaviour


def count(metrics: Metrics, code: str) -> float:
    """Return how many calls ended with a code."""
    return metrics.registry.get_sample_value("shortlist_test_requests_total", {"method": METHOD, "code": code}) or 0.0


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequest("limit: must be 1 to 500"),
        errors.NotFound("no such item"),
        errors.Overloaded("full"),
        errors.NotReady("starting"),
        errors.DeadlineTooShort("refused"),
        errors.BadRelease("altered"),
    ],
)
async def test_errors_become_their_status(call: Call, metrics: Metrics, error: errors.ShortlistError):
    """An error of the tree reaches the caller with its status and its text, and is counted under it."""
    made = await call(raising(error))
    assert (await made.code()).name == error.status
    assert await made.details() == str(error)
    assert count(metrics, error.status) == 1


async def test_an_overloaded_server_says_when_to_come_back(call: Call):
    """RESOURCE_EXHAUSTED comes with RetryInfo and the call's id."""
    made = await call(raising(errors.Overloaded("full", retry_after_s=0.25)), metadata=[("x-request-id", "r-7")])
    status = await rpc_status.aio.from_call(made)
    info = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.retry_delay.ToNanoseconds() == 250_000_000
    assert dict(await made.trailing_metadata())["x-request-id"] == "r-7"


async def test_a_bug_tells_the_caller_nothing(call: Call, metrics: Metrics):
    """Any other exception is INTERNAL with the text "internal error"; its stack is in the one log line of the call."""
    with capture_logs() as logs:
        made = await call(raising(ValueError("secret")))
    assert (await made.code(), await made.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert count(metrics, "INTERNAL") == 1
    (line,) = [entry for entry in logs if entry["event"] == "call"]
    assert (line["log_level"], str(line["exc_info"])) == ("error", "secret")


async def test_work_that_timed_out_is_deadline_exceeded(call: Call, metrics: Metrics):
    """A TimeoutError that reaches the interceptor is DEADLINE_EXCEEDED."""

    async def behaviour(*_: Any) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    made = await call(behaviour)
    assert await made.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert count(metrics, "DEADLINE_EXCEEDED") == 1


async def test_an_abort_passes(call: Call, metrics: Metrics):
    """A handler that aborts by itself gets its own status through, and it is counted under it."""

    async def behaviour(_: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.DATA_LOSS, "lost")

    made = await call(behaviour)
    assert (await made.code(), await made.details()) == (grpc.StatusCode.DATA_LOSS, "lost")
    assert count(metrics, "DATA_LOSS") == 1
    assert dict(await made.trailing_metadata())["x-request-id"]


async def test_an_answer_is_counted_timed_and_logged_once(call: Call, metrics: Metrics):
    """A good call is one count, one duration and one log line with method, code and duration."""

    async def behaviour(*_: Any) -> None:
        structlog.get_logger().info("inside")

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await call(behaviour, metadata=[("x-request-id", "r-1")])
    assert count(metrics, "OK") == 1
    assert metrics.registry.get_sample_value("shortlist_test_request_seconds_count", {"method": METHOD}) == 1
    assert metrics.registry.get_sample_value("shortlist_test_requests_in_flight") == 0
    inside, line = logs
    assert inside["request_id"] == line["request_id"] == "r-1"
    assert (line["event"], line["log_level"], line["method"], line["code"]) == ("call", "info", METHOD, "OK")
    assert line["duration_ms"] >= 0


@pytest.mark.parametrize(("given", "kept"), [("r-1", True), ("x" * 128, True), ("x" * 129, False), ("", False)])
async def test_a_calls_id_is_the_callers_where_usable(call: Call, given: str, kept: bool):
    """The caller's id is used and returned; without one, or with one too long, the call gets a new one."""
    seen = []

    async def behaviour(*_: Any) -> None:
        seen.append(request_id())

    made = await call(behaviour, metadata=[("x-request-id", given)])
    assert dict(await made.trailing_metadata())["x-request-id"] == seen[0]
    assert (seen[0] == given) == kept
    assert seen[0]


async def test_calls_at_the_same_time_keep_their_own_ids(calling: Any, fake_service: Any):
    """Calls that run side by side each see their own id from beginning to end."""
    arrived, seen = asyncio.Barrier(8), {}

    async def behaviour(request: Any, _: Any) -> None:
        await arrived.wait()
        seen[request.location] = request_id()

    async with calling(fake_service(behaviour)) as (_, channel):
        stub = release_pb2_grpc.ReleaseServiceStub(channel)
        await asyncio.gather(
            *(
                stub.ActivateRelease(
                    release_pb2.ActivateReleaseRequest(location=str(number)), metadata=[("x-request-id", str(number))]
                )
                for number in range(8)
            )
        )
    assert seen == {str(number): str(number) for number in range(8)}


async def test_a_caller_who_is_gone_is_no_error(calling: Any, fake_service: Any, metrics: Metrics):
    """A call that its caller cancels ends at once, is counted as CANCELLED and logs no error."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def behaviour(*_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with capture_logs() as logs:
        async with calling(fake_service(behaviour)) as (_, channel):
            stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
            made = stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location="x"))
            await begun.wait()
            made.cancel()
            await ended.wait()
    assert count(metrics, "CANCELLED") == 1
    assert [line["log_level"] for line in logs if line["event"] == "call"] == ["info"]


async def test_streams_pass(calling: Any, fake_service: Any):
    """Reflection, which is a stream, lists the services with the interceptor in place."""
    async with calling(fake_service()) as (_, channel):
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]
    assert {service.name for service in answers[0].list_services_response.service} == {
        "shortlist.release.v1.ReleaseService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_an_unknown_method_is_unimplemented(calling: Any, fake_service: Any):
    """A method that the server does not have is UNIMPLEMENTED."""
    async with calling(fake_service()) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary("/shortlist.release.v1.ReleaseService/Nothing")(b"")
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
