"""Limits of a call's size, set by flags, and many calls at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.server.channel import open_channel
from common.server.interceptors import sends_large_answers
from common.server.server import running
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics
from testing.faults.http2_client import Http2Client

SERVICE = "/shortlist.release.v1.ReleaseService/ActivateRelease"


async def answered(*_: Any) -> None:
    """Answer at once."""


async def idle(metrics: Metrics, open_calls: int) -> None:
    """Return once the server has this number of calls open."""
    while metrics.registry.get_sample_value("shortlist_test_requests_in_flight") != open_calls:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def counted(metrics: Metrics) -> Mapping[str, float]:
    """Return the counts of calls by status."""
    samples = [sample for metric in metrics.registry.collect() for sample in metric.samples]
    return {each.labels["code"]: each.value for each in samples if each.name == "shortlist_test_requests_total"}


@pytest.mark.parametrize(("size", "code"), [(1 << 19, "OK"), ((1 << 20) + 10, "RESOURCE_EXHAUSTED")])
async def test_a_request_beyond_the_flag_is_refused(fake_service: Any, size: int, code: str):
    """A request of more megabytes than the flag says is refused with its size, and a smaller one is read."""

    async def behaviour(*_: Any) -> None:
        return None

    settings = ServerSettings(port=0, metrics_port=0, max_message_mb=1)
    async with (
        running(fake_service(behaviour), settings, Metrics("test")) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        call = stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location="x" * size))
        assert (await call.code()).name == code


@pytest.mark.parametrize(("kilobytes", "code"), [(1, grpc.StatusCode.RESOURCE_EXHAUSTED), (4, grpc.StatusCode.OK)])
async def test_metadata_beyond_the_flag_are_refused(fake_service: Any, kilobytes: int, code: grpc.StatusCode):
    """Metadata of more kilobytes than the flag says are refused."""

    async def behaviour(*_: Any) -> None:
        return None

    settings = ServerSettings(port=0, metrics_port=0, max_metadata_kb=kilobytes)
    async with (
        running(fake_service(behaviour), settings, Metrics("test")) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        call = stub.ActivateRelease(release_pb2.ActivateReleaseRequest(), metadata=(("x-note", "n" * 1_500),))
        assert await call.code() == code


async def test_calls_beyond_the_streams_of_a_connection_wait(fake_service: Any, metrics: Metrics):
    """Each of many calls on one connection is answered and counted, however few of them it may have at a time."""
    async with (
        running(fake_service(answered), ServerSettings(max_streams=5), metrics) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        await asyncio.gather(*(channel.unary_unary(SERVICE)(b"") for _ in range(300)))
    assert counted(metrics) == {"OK": 300}


async def test_callers_who_never_read_do_not_fill_the_memory(fake_service: Any, metrics: Metrics):
    """Of large answers on connections that nobody reads, the server keeps as many as its bound, and refuses others.

    Once the connections are closed there is room again.
    """
    answered = 0

    class Service(fake_service):  # type: ignore[misc]  # the fixture's class
        @sends_large_answers
        async def ActivateRelease(self, *_: Any) -> release_pb2.ActivateReleaseResponse:  # noqa: N802 - the contract's
            nonlocal answered
            answered += 1  # without another await the answer is handed to gRPC next
            return release_pb2.ActivateReleaseResponse(previous_release_id="r" * ((1 << 20) - 100))

    settings = ServerSettings(port=0, metrics_port=0, max_unsent_mb=4)
    async with running(Service(), settings, metrics) as server:
        clients = [await Http2Client.connect(server.port, window=0) for _ in range(6)]
        for opened, client in enumerate(clients, 1):
            unread = await client.call(SERVICE.encode(), b"")
            if opened > 4:  # 4 MiB are unread on other connections
                await client.ended(unread)
            else:
                while answered < (opened - 1) * 21 + 1:  # noqa: ASYNC110 - the service has no event
                    await asyncio.sleep(0.001)
                for _ in range(20):  # a quarter of the bound is unread on this connection
                    await client.ended(await client.call(SERVICE.encode(), b""))
        assert counted(metrics) == {"RESOURCE_EXHAUSTED": 4 * 20 + 2}
        for client in clients:
            await client.close()
        await idle(metrics, 0)
        async with open_channel(f"127.0.0.1:{server.port}") as channel:
            assert len(await channel.unary_unary(SERVICE)(b"")) > 1_000_000
    assert counted(metrics) == {"RESOURCE_EXHAUSTED": 82, "CANCELLED": 4, "OK": 1}


class BusyTime:
    """Runs a client while the server's event loop is busy: until the client has sent all."""

    def __init__(self) -> None:
        self._sent = threading.Event()
        self._over = threading.Event()

    def spend(self, port: int, cancel: bool) -> threading.Thread:
        """Begin 20 calls, and cancel each at once or leave them open; returns when the server has read that."""
        thread = threading.Thread(target=asyncio.run, args=(self._call(port, cancel),))
        thread.start()
        self._sent.wait()  # which keeps the event loop busy
        return thread

    def end(self, thread: threading.Thread) -> None:
        """Close the connection."""
        self._over.set()
        thread.join()

    async def _call(self, port: int, cancel: bool) -> None:
        client = await Http2Client.connect(port)
        for _ in range(20):
            stream = await client.call(SERVICE.encode(), None if cancel else b"")
            if cancel:
                client.reset(stream)
        await client.answers_ping()
        self._sent.set()
        await asyncio.to_thread(self._over.wait)
        await client.close()


async def test_calls_that_end_before_they_are_accepted_are_counted(calling: Any, fake_service: Any, metrics: Metrics):
    """Calls that their callers cancel while the server's event loop is busy are counted once it is free."""
    busy = BusyTime()
    async with calling(fake_service(answered)) as (server, _):
        client = busy.spend(server.port, cancel=True)
        while sum(counted(metrics).values()) < 20:  # noqa: ASYNC110 - metrics have no event
            await asyncio.sleep(0.001)
    busy.end(client)
    assert counted(metrics) == {"CANCELLED": 20}


async def test_calls_that_a_drain_finds_waiting_are_refused(fake_service: Any, metrics: Metrics):
    """Calls that gRPC has received when the server drains are UNAVAILABLE and counted; gRPC would cancel them."""
    busy = BusyTime()
    async with running(fake_service(answered), ServerSettings(), metrics) as server:
        client = busy.spend(server.port, cancel=False)
    busy.end(client)
    assert counted(metrics) == {"UNAVAILABLE": 20}
