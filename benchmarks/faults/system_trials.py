"""Do real servers behave under the faults that servers of this kind are known for?

Each trial causes one fault on running services with a tiny release, and prints what was seen. `make test-faults` runs
them; bursts and cancelled calls have benchmarks of their own, which count here as they are.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from benchmarks.faults import burst, cancelled_calls
from benchmarks.faults.services import Services, metrics_text, services, tiny_release
from benchmarks.harness.record import Result, Threshold, at_least
from common.server import event_loop
from common.server.channel import open_channel
from pipeline.local_services import free_ports
from testing.fuzzing.rpcs import methods_of

_PROXIES: Final = ("http_proxy", "https_proxy", "grpc_proxy")
_NO_MESSAGE: Final = b"\xff\xff\xff"
_MAX_DETAIL_CHARACTERS: Final = 600
_DAY_S: Final = 86_400.0
# What each trial's fault may take longer on a busy machine than the bound that the documents give.
_MAX_STOP_S: Final = 5.0
_IDLE_CONNECTIONS: Final = 40
_IDLE_WAIT_S: Final = 12.0
_LOGGED_CALLS: Final = 600

Seen = tuple[bool, str]


def run(quick: bool, console: Console) -> Result:
    """Run every trial; quick leaves out those that are benchmarks of their own."""
    with (
        tiny_release() as release,
        _environment(dict.fromkeys(_PROXIES, "http://127.0.0.1:9")),
        services(release) as running,
        _environment({}),
    ):
        seen = event_loop.run(_trials(running))
    table = Table("fault", "behaves", "what was seen", title="faults of servers, tried on real processes")
    for name, (behaves, what) in seen.items():
        table.add_row(name, "yes" if behaves else "no", what)
    thresholds = [at_least("share of trials in which the servers behave", 1.0, _share(seen))]
    thresholds += [] if quick else _of_other_benchmarks(console)
    return Result({name: {"behaves": ok, "seen": what} for name, (ok, what) in seen.items()}, thresholds, [table])


def _share(seen: dict[str, Seen]) -> float:
    return sum(behaves for behaves, _ in seen.values()) / len(seen)


def _of_other_benchmarks(console: Console) -> Iterator[Threshold]:
    for benchmark in (burst, cancelled_calls):
        yield from benchmark.run(quick=True, console=console).thresholds


@contextmanager
def _environment(proxies: dict[str, str]) -> Iterator[None]:
    """Have exactly these proxies in the environment while the body runs."""
    before = {name: os.environ.pop(name, None) for name in _PROXIES}
    os.environ.update(proxies)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


async def _trials(running: Services) -> dict[str, Seen]:
    trials: dict[str, Callable[[Services], Awaitable[Seen]]] = {
        "a proxy in the environment of the servers": _proxy,
        "bytes that are no message, every method of every server": _no_message,
        "texts of 20,000 characters where ids are expected": _long_texts,
        "an event that is stamped ahead": _stamped_ahead,
        "a second server on a taken port of localhost": _taken_port,
        "help into an ASCII terminal": _ascii_help,
        "SIGTERM in the first second": _early_signal,
        "a log that nobody reads": _unread_log,
        "idle connections to the metrics port": _idle_metrics,
        "SIGTERM with an open stream and a call without a message": _open_stream,  # ends the gateway
    }
    seen: dict[str, Seen] = {}
    for name, trial in trials.items():
        try:
            seen[name] = await trial(running)
        except (grpc.aio.AioRpcError, OSError, TimeoutError) as error:
            seen[name] = (False, f"{type(error).__name__}: {error}"[:200])
    return seen


async def _proxy(running: Services) -> Seen:
    async with open_channel(running.gateway.target) as channel:
        stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        answer = await stub.Recommend(gateway_pb2.RecommendRequest(user_id="u1"), timeout=20)
    return not answer.degradations, f"{len(answer.items)} items, {len(answer.degradations)} degradations"


async def _no_message(running: Services) -> Seen:
    codes, without_id = Counter[str](), 0
    for server in (running.retrieval, running.ranking, running.gateway):
        async with open_channel(server.target) as channel:
            for method in await methods_of(channel):
                made: Any = channel.unary_stream(f"/{method.containing_service.full_name}/{method.name}")
                call = made(_NO_MESSAGE)
                codes[(await call.code()).name] += 1
                without_id += "x-request-id" not in dict(await call.trailing_metadata() or ())
    told = ", ".join(f"{count} {code}" for code, count in codes.items())
    return set(codes) == {"INVALID_ARGUMENT"} and not without_id, f"{told}; {without_id} without an id"


async def _long_texts(running: Services) -> Seen:
    text, codes, longest = "x" * 20_000, Counter[str](), 0
    requests = [("ActivateRelease", release_pb2.ActivateReleaseRequest(location=text))] * 3
    for server, (method, request) in zip((running.retrieval, running.ranking, running.gateway), requests, strict=True):
        async with open_channel(server.target) as channel:
            call = getattr(release_pb2_grpc.ReleaseServiceStub(channel), method)(request, timeout=20)
            codes[(await call.code()).name] += 1
            longest = max(longest, len(await call.details() or ""))
    told = ", ".join(f"{count} {code}" for code, count in codes.items())
    legal = set(codes) <= {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}
    return legal and longest <= _MAX_DETAIL_CHARACTERS, f"{told}; messages up to {longest} characters"


async def _stamped_ahead(running: Services) -> Seen:
    codes = []
    async with open_channel(running.gateway.target) as channel:
        stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        for number, ahead_s in enumerate((_DAY_S - 60, _DAY_S + 3_600)):
            event = gateway_pb2.Event(
                event_id=f"ahead-{number}",
                user_id="ahead",
                kind=gateway_pb2.EVENT_KIND_SEARCH,
                query="milk",
                occurred_at=Timestamp(seconds=round(time.time() + ahead_s)),
            )
            call = stub.RecordEvents(gateway_pb2.RecordEventsRequest(events=[event]), timeout=20)
            codes.append((await call.code()).name)
    return codes == ["OK", "INVALID_ARGUMENT"], f"23 h 59 min ahead: {codes[0]}; 25 h ahead: {codes[1]}"


async def _taken_port(running: Services) -> Seen:
    port = running.gateway.target.rpartition(":")[2]
    code, output, _ = await _ended("-m", "services.gateway", "--host", "localhost", "--port", port, "--metrics-port=0")
    return code == 1 and f"127.0.0.1:{port}" in output, f"exit {code}; {_last_line(output)}"


async def _ascii_help(_: Services) -> Seen:
    environment = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    code, output, _s = await _ended("-m", "services.gateway", "--help", environment=environment)
    return code == 0 and "Traceback" not in output, f"exit {code}, {len(output.splitlines())} lines"


async def _early_signal(running: Services) -> Seen:
    targets = (f"--retrieval-target={running.retrieval.target}", f"--ranking-target={running.ranking.target}")
    file = f"--profiles={running.folder / 'early.sqlite3'}"
    command = ("-m", "services.gateway", "--port=0", "--metrics-port=0", file, *targets)
    codes = [(await _ended(*command, stop_after_s=after_s))[0] for after_s in (0.5, 0.75, 1.0)]
    return set(codes) == {0}, f"exits {', '.join(map(str, codes))}"


async def _unread_log(running: Services) -> Seen:
    """A pipe holds 64 KiB, and each call writes a line of about 300 bytes."""
    port, read_end, write_end = free_ports(1)[0], *os.pipe()
    targets = (f"--retrieval-target={running.retrieval.target}", f"--ranking-target={running.ranking.target}")
    file = f"--profiles={running.folder / 'unread.sqlite3'}"
    command = (sys.executable, "-m", "services.gateway", f"--port={port}", "--metrics-port=0", file, *targets)
    process = await asyncio.create_subprocess_exec(*command, stderr=write_end)
    os.close(write_end)
    answered = 0
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
            health: Any = health_pb2_grpc.HealthStub(channel)
            await health.Check(health_pb2.HealthCheckRequest(), timeout=60, wait_for_ready=True)
            for _ in range(_LOGGED_CALLS):
                call = stub.Recommend(gateway_pb2.RecommendRequest(user_id="u1"), timeout=20)
                answered += await call.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
        process.terminate()
        code = await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(read_end)
    return (answered, code) == (_LOGGED_CALLS, 0), f"{answered} of {_LOGGED_CALLS} calls answered, exit {code}"


async def _idle_metrics(running: Services) -> Seen:
    host, _, port = running.gateway.metrics.rpartition(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(_IDLE_CONNECTIONS)]
    before_s = running.gateway.cpu_s()
    await asyncio.sleep(_IDLE_WAIT_S)
    used_s = running.gateway.cpu_s() - before_s
    closed = sum(map(_is_closed, idle))
    for connection in idle:
        connection.close()
    answers = "shortlist_gateway" in await metrics_text(running.gateway)
    behaves = closed == _IDLE_CONNECTIONS and answers and used_s < _IDLE_WAIT_S / 4
    return behaves, f"{closed} of {_IDLE_CONNECTIONS} closed within {_IDLE_WAIT_S:g} s, {used_s:.1f} s of CPU"


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


async def _open_stream(running: Services) -> Seen:
    async with open_channel(running.gateway.target) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        silent: Any = channel.stream_unary("/shortlist.gateway.v1.RecommendationService/Recommend")()
        await silent.wait_for_connection()
        began_s = time.monotonic()
        os.kill(running.gateway.pid, signal.SIGTERM)
        code = (await silent.code()).name
        while running.gateway.is_running() and time.monotonic() - began_s < 2 * _MAX_STOP_S:  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.02)
        took_s = time.monotonic() - began_s
    return took_s < _MAX_STOP_S and code == "UNAVAILABLE", f"ended after {took_s:.2f} s; the call was {code}"


async def _ended(
    *command: str, stop_after_s: float | None = None, environment: Mapping[str, str] | None = None
) -> tuple[int, str, float]:
    """Run a program to its end, sending SIGTERM after a time; returns its exit code, its output and the seconds."""
    began_s = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if stop_after_s is not None:
        await asyncio.sleep(stop_after_s)
        process.terminate()
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, output.decode(errors="replace"), time.monotonic() - began_s


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:120]
