"""Whatever fails between the wire and a handler, a call has one id, one true status, one count and one log line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from shortlist.release.v1 import release_pb2
from structlog.testing import capture_logs

from common.errors import NotFound, Overloaded
from common.server.call import Call, UnsentBytes
from common.server.channel import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, open_channel
from common.server.server import running
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics
from testing.faults.http2_client import Http2Client

SERVICE = "/shortlist.release.v1.ReleaseService/ActivateRelease"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
METHODS = (SERVICE, CHECK, WATCH, REFLECTION)
NO_MESSAGE = b"\xff\xff\xff"
Reports = list[tuple[str, str, str]]


@pytest.fixture
def reported(calling: Any, fake_service: Any, metrics: Metrics) -> Callable[..., Any]:
    """Return a context manager that yields a channel, and asserts that each call was logged and counted once."""

    @asynccontextmanager
    async def report(*expected: tuple[str, str], behaviour: Any = None) -> AsyncIterator[grpc.aio.Channel]:
        with capture_logs() as logs:
            async with calling(fake_service(behaviour)) as (_, channel):
                yield channel
        lines = [(line["method"], line["code"]) for line in logs if line["event"] == "call"]
        counts = {
            (sample.labels["method"], sample.labels["code"]): sample.value
            for metric in metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "shortlist_test_requests_total"
        }
        assert lines == list(expected)
        assert counts == {("unknown" if method == "/a/b" else method, code): 1.0 for method, code in expected}
        assert metrics.registry.get_sample_value("shortlist_test_requests_in_flight") == 0

    return report


async def idle(metrics: Metrics, open_calls: int = 0) -> None:
    """Return once the server has this number of calls open."""
    while metrics.registry.get_sample_value("shortlist_test_requests_in_flight") != open_calls:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def sent(channel: grpc.aio.Channel, method: str, message: bytes, **options: Any) -> grpc.aio.Call:
    """Send bytes to a method, read what it answers, and return the finished call."""
    # Writing a stream's message to a call that was refused would make its status INTERNAL in the client.
    call: Any = channel.unary_stream(method)(message, **options)
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError:
        pass
    return call  # type: ignore[no-any-return]  # the stub's type is unknown


@pytest.mark.parametrize("method", METHODS)
async def test_bytes_that_are_no_message_are_an_invalid_argument(reported: Any, method: str):
    """Health and reflection too answer bytes that are no message with INVALID_ARGUMENT and the call's id."""
    async with reported((method, "INVALID_ARGUMENT")) as channel:
        call = await sent(channel, method, NO_MESSAGE, metadata=[("x-request-id", "r-1")])
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "the request is not a" in await call.details()
        assert dict(await call.trailing_metadata())["x-request-id"] == "r-1"


async def test_an_unknown_method_is_counted_under_one_name(reported: Any):
    """A method that does not exist is UNIMPLEMENTED, and its name, which the caller chose, makes no series."""
    async with reported(("/a/b", "UNIMPLEMENTED")) as channel:
        call = await sent(channel, "/a/b", b"")
        assert await call.code() == grpc.StatusCode.UNIMPLEMENTED
        assert dict(await call.trailing_metadata())["x-request-id"]


@pytest.mark.parametrize("odd", ["é".encode(), b"\xff", b"a b", b"\t", b"x" * 129])
async def test_an_odd_id_is_replaced(calling: Any, fake_service: Any, odd: bytes):
    """An id that the answer's metadata cannot carry is replaced by a new one, and the call is answered."""

    async def behaviour(*_: Any) -> None:
        return None

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        async with calling(fake_service(behaviour)) as (server, _):
            client = await Http2Client.connect(server.port)
            await client.ended(await client.call(SERVICE.encode(), b"", [(b"x-request-id", odd)]))
            await client.close()
    (line,) = [line for line in logs if line["event"] == "call"]
    assert (line["code"], len(line["request_id"])) == ("OK", 32)


async def test_an_answer_beyond_the_limit_is_said_by_everybody(reported: Any):
    """The caller, the log and the metrics all say RESOURCE_EXHAUSTED for an answer that is too large."""

    async def behaviour(*_: Any) -> Any:
        return release_pb2.ActivateReleaseResponse(previous_release_id="x" * MAX_MESSAGE_BYTES)

    async with reported((SERVICE, "RESOURCE_EXHAUSTED"), behaviour=behaviour) as channel:
        call = await sent(channel, SERVICE, b"")
        assert await call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the answer has" in await call.details()


async def test_a_request_beyond_the_limit_is_refused_by_us(calling: Any, fake_service: Any, metrics: Metrics):
    """A request that is too large is RESOURCE_EXHAUSTED with an id, and counted."""
    async with (
        calling(fake_service()) as (server, _),
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        call = await sent(channel, SERVICE, bytes(MAX_MESSAGE_BYTES + 1))
        assert await call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(await call.trailing_metadata())["x-request-id"]
    labels = {"method": SERVICE, "code": "RESOURCE_EXHAUSTED"}
    assert metrics.registry.get_sample_value("shortlist_test_requests_total", labels) == 1


async def test_metadata_beyond_the_limit_are_refused_by_us(reported: Any):
    """Metadata that are too large are RESOURCE_EXHAUSTED with an id, and counted."""
    async with reported((SERVICE, "RESOURCE_EXHAUSTED")) as channel:
        call = await sent(channel, SERVICE, b"", metadata=[("x-long", "x" * MAX_METADATA_BYTES)])
        assert await call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "metadata" in await call.details()
        assert dict(await call.trailing_metadata())["x-request-id"]


@pytest.mark.parametrize("path", [b"a", b"/" + b"x" * 5_000])
async def test_an_odd_path_does_no_harm(calling: Any, fake_service: Any, path: bytes):
    """A method's name that is not text, or far too long, ends its call alone: the server still answers."""
    async with calling(fake_service()) as (server, channel):
        client = await Http2Client.connect(server.port)
        await client.call(path, b"")
        assert await (await sent(channel, CHECK, b"")).code() == grpc.StatusCode.OK
        await client.close()


async def test_a_call_without_a_message_is_an_invalid_argument(reported: Any):
    """A caller that ends its stream without a request is told so."""
    async with reported((SERVICE, "INVALID_ARGUMENT")) as channel:
        call = channel.stream_unary(SERVICE)(iter([]))
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("text", ["x" * 20_000, "é" * 20_000, "\0😀" * 10_000])
async def test_the_callers_text_in_a_message_is_bounded(reported: Any, text: str):
    """An error that quotes a long text keeps its status, its beginning and its end."""

    async def behaviour(*_: Any) -> None:
        raise NotFound(f"item {text} is not in the catalogue; upsert it first")

    async with reported((SERVICE, "NOT_FOUND"), behaviour=behaviour) as channel:
        call = await sent(channel, SERVICE, b"")
        assert await call.code() == grpc.StatusCode.NOT_FOUND
        details = await call.details()
        assert details.startswith("item ")
        assert details.endswith("upsert it first")
        assert len(details) <= 500


async def test_an_overloaded_servers_long_message_still_comes_with_retry_info(reported: Any):
    """The details of RetryInfo fit the metadata although they repeat the message."""

    async def behaviour(*_: Any) -> None:
        raise Overloaded("😀" * 10_000)

    async with reported((SERVICE, "RESOURCE_EXHAUSTED"), behaviour=behaviour) as channel:
        status = await rpc_status.aio.from_call(await sent(channel, SERVICE, b""))
        assert status.details[0].Is(error_details_pb2.RetryInfo.DESCRIPTOR)


@pytest.mark.parametrize("method", [SERVICE, CHECK, REFLECTION])
async def test_a_deadline_is_no_cancellation(calling: Any, fake_service: Any, metrics: Metrics, method: str):
    """A call whose message never comes is counted as DEADLINE_EXCEEDED at its deadline.

    A client of gRPC would also cancel it at that moment, which can reach the server before.
    """
    async with calling(fake_service()) as (server, _):
        client = await Http2Client.connect(server.port)
        await client.call(method.encode(), None, [(b"grpc-timeout", b"50m")])
        labels = {"method": method, "code": "DEADLINE_EXCEEDED"}
        while metrics.registry.get_sample_value("shortlist_test_requests_total", labels) != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await idle(metrics)
        await client.close()


async def test_a_call_whose_message_never_comes_is_cancelled_once(reported: Any, metrics: Metrics):
    """Its caller's cancellation before the message is one CANCELLED."""
    async with reported((SERVICE, "CANCELLED")) as channel:
        call = channel.stream_unary(SERVICE)()
        await idle(metrics, open_calls=1)
        call.cancel()
        await idle(metrics)


async def test_calls_beyond_the_bound_are_told_when_to_return(fake_service: Any, metrics: Metrics):
    """With as many calls open as allowed, the next is RESOURCE_EXHAUSTED with RetryInfo; health still answers."""
    begun, finish = asyncio.Event(), asyncio.Event()

    async def behaviour(*_: Any) -> None:
        begun.set()
        await finish.wait()

    settings = ServerSettings(port=0, metrics_port=0, max_open_calls=1)
    async with (
        running(fake_service(behaviour), settings, metrics) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        first = asyncio.create_task(sent(channel, SERVICE, b""))
        await begun.wait()
        second = await sent(channel, SERVICE, b"")
        healthy = await sent(channel, CHECK, b"")
        finish.set()
        codes = [await call.code() for call in (await first, second, healthy)]
    assert codes == [grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OK]
    status = await rpc_status.aio.from_call(second)
    assert status.details[0].Is(error_details_pb2.RetryInfo.DESCRIPTOR)


@pytest.mark.parametrize("method", [SERVICE, REFLECTION])
async def test_a_drain_ends_calls_that_wait_for_their_caller(
    fake_service: Any, metrics: Metrics, settings: ServerSettings, method: str
):
    """A stream that is open, and a call whose message never comes, end at once and say UNAVAILABLE."""
    settings = settings.model_copy(update={"drain_timeout_s": 3600.0})
    async with running(fake_service(), settings, metrics) as server:
        channel = open_channel(f"127.0.0.1:{server.port}")
        call = channel.stream_stream(method)()
        await idle(metrics, open_calls=1)
    assert await call.code() == grpc.StatusCode.UNAVAILABLE
    assert dict(await call.trailing_metadata())["x-request-id"]
    labels = {"method": method, "code": "UNAVAILABLE"}
    assert metrics.registry.get_sample_value("shortlist_test_requests_total", labels) == 1
    await channel.close()


def test_unread_answers_are_bounded_in_all_and_for_a_connection():
    """A connection may leave a quarter of the bound unread, all together the bound; one answer always passes."""
    unsent = UnsentBytes(100)
    unsent.require_room("a", 90)
    unsent.add("a", 20)
    with pytest.raises(Overloaded, match="20 of them on this connection"):
        unsent.require_room("a", 6)
    unsent.add("b", 75)
    with pytest.raises(Overloaded):
        unsent.require_room("c", 6)
    unsent.remove("b", 75)
    unsent.require_room("c", 6)
    unsent.remove("a", 20)
    unsent.require_room("a", 90)


async def test_a_cancelled_call_does_not_interrupt_the_read_of_its_request(metrics: Metrics):
    """The read ends by itself, since its call has ended; gRPC never frees the memory of an interrupted read."""

    class Context:
        reads: ClassVar[list[str]] = []
        call_has_ended = asyncio.Event()

        def invocation_metadata(self) -> tuple[()]:
            return ()

        def set_trailing_metadata(self, _: Any) -> None:
            pass

        async def read(self) -> Any:
            self.reads.append("begun")
            await self.call_has_ended.wait()
            self.reads.append("ended")

    context = Context()
    receiving = asyncio.create_task(Call("/a/b", metrics, UnsentBytes(1), context, is_known=True).receive())
    while not context.reads:  # noqa: ASYNC110 - the fake has no event
        await asyncio.sleep(0)
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    context.call_has_ended.set()
    for _ in range(5):  # turns of the loop, in which the read would end
        await asyncio.sleep(0)
    assert context.reads == ["begun", "ended"]
