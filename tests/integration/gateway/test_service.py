"""The gateway as a process: start, refusal to start, drain, and durability."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

_NAMES = ("shortlist.gateway.v1.RecommendationService", "shortlist.release.v1.ReleaseService")


class _Gateway:
    """A gateway's process and a channel to it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = _serving_port(process)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        self.stub: Any = gateway_pb2_grpc.RecommendationServiceStub(self.channel)

    def end(self) -> None:
        """Leave nothing running."""
        self.channel.close()
        _end(self.process)


@contextmanager
def _gateway(folder: Path, *flags: str) -> Iterator[_Gateway]:
    process = _start(folder, *flags)
    try:
        gateway = _Gateway(process)
    except BaseException:
        _end(process)
        raise
    try:
        yield gateway
    finally:
        gateway.end()


def _start(folder: Path, *flags: str) -> subprocess.Popen[str]:
    where = ("--port", "0", "--metrics-port", "0", "--profiles", str(folder / "profiles.db"))
    command = (sys.executable, "-m", "services.gateway", *where, *flags)
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own program


def _serving_port(process: subprocess.Popen[str]) -> int:
    """Read the log up to the line that has the port."""
    assert process.stderr is not None
    for line in process.stderr:
        entry = json.loads(line)
        if entry["event"] == "serving":
            return int(entry["port"])
    raise AssertionError("the gateway ended before it served")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _refused(folder: Path, *flags: str) -> tuple[int, str]:
    """Return the exit code and the log of a gateway that does not serve."""
    process = _start(folder, *flags)
    _, log = process.communicate(timeout=60)
    return process.returncode, log


@pytest.fixture
def backends() -> Iterator[tuple[str, str]]:
    """Return the flags for running fake retrieval and ranking services."""
    processes = [
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "testing.gateway_backends", service, "0"], stdout=subprocess.PIPE, text=True
        )
        for service in ("retrieval", "ranking")
    ]
    ports = [process.stdout.readline().strip() for process in processes if process.stdout is not None]
    yield f"--retrieval-target=127.0.0.1:{ports[0]}", f"--ranking-target=127.0.0.1:{ports[1]}"
    for process in processes:
        _end(process)


def test_it_recommends_and_answers_health_and_reflection(tmp_path: Path, backends: tuple[str, str]):
    """A started gateway recommends, reports SERVING by service name, and lists its services by reflection."""
    with _gateway(tmp_path, *backends) as gateway:
        assert len(gateway.stub.Recommend(gateway_pb2.RecommendRequest()).items) == 10
        probe: Any = health_pb2_grpc.HealthStub(gateway.channel)
        for name in ("", *_NAMES):
            answer = probe.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        describe: Any = reflection_pb2_grpc.ServerReflectionStub(gateway.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (listed,) = describe.ServerReflectionInfo(iter([request]))
        assert set(_NAMES) <= {service.name for service in listed.list_services_response.service}


def test_sigterm_drains_and_exits_0(tmp_path: Path, backends: tuple[str, str]):
    """On SIGTERM the gateway drains and exits with 0."""
    with _gateway(tmp_path, *backends) as gateway:
        gateway.stub.Recommend(gateway_pb2.RecommendRequest())
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(timeout=30) == 0


def test_acknowledged_events_survive_kill_9(tmp_path: Path, backends: tuple[str, str]):
    """Acknowledged events are there after the gateway was killed and restarted."""
    with _gateway(tmp_path, *backends) as gateway:
        for at in range(20):
            gateway.stub.RecordEvents(gateway_pb2.RecordEventsRequest(events=[_event(at)]))
        gateway.process.kill()
    with _gateway(tmp_path, *backends) as gateway:
        again = gateway.stub.RecordEvents(gateway_pb2.RecordEventsRequest(events=[_event(at) for at in range(20)]))
        assert (again.recorded, again.duplicates) == (0, 20)


def test_it_serves_without_the_services_behind_it(tmp_path: Path):
    """Without retrieval the gateway starts and records events; Recommend is UNAVAILABLE without a fallback."""
    with _gateway(tmp_path, "--retrieval-target=127.0.0.1:1", "--ranking-target=127.0.0.1:1") as gateway:
        recorded = gateway.stub.RecordEvents(gateway_pb2.RecordEventsRequest(events=[_event(1)]))
        assert recorded.recorded == 1
        with pytest.raises(grpc.RpcError) as failed:
            gateway.stub.Recommend(gateway_pb2.RecommendRequest())
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "retrieval does not answer" in failed.value.details()


def test_the_log_has_the_degradations(tmp_path: Path, backends: tuple[str, str]):
    """The log line of a degraded call has its request id and its degradations with their details."""
    with _gateway(tmp_path, backends[0], "--ranking-target=127.0.0.1:1") as gateway:
        gateway.stub.Recommend(gateway_pb2.RecommendRequest(), metadata=(("x-request-id", "call-7"),))
        assert gateway.process.stderr is not None
        entries = (json.loads(line) for line in gateway.process.stderr)
        entry = next(entry for entry in entries if entry["event"] == "call")
        assert entry["request_id"] == "call-7"
        assert "the first stage's order" in entry["degradations"]["RANKING_UNAVAILABLE"]


def test_a_taken_port_ends_with_1(tmp_path: Path):
    """If the port is taken, the gateway exits with 1 and names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, log = _refused(tmp_path, "--port", str(port))
    assert code == 1
    assert f"127.0.0.1:{port}" in log


def test_a_bad_file_of_profiles_ends_with_1(tmp_path: Path):
    """If the profile store cannot be used, the gateway exits with 1 and a message without a stack trace."""
    (tmp_path / "profiles.db").write_bytes(b"no database" * 100)
    code, log = _refused(tmp_path)
    assert code == 1
    assert "profiles.db cannot be opened" in log
    assert "Traceback" not in log


def test_an_unknown_setting_ends_with_2(tmp_path: Path):
    """A misspelt flag ends the program with 2 and the nearest flag."""
    code, log = _refused(tmp_path, "--candidate", "5")
    assert code == 2
    assert "--candidates" in log


def _event(number: int) -> gateway_pb2.Event:
    return gateway_pb2.Event(
        event_id=f"e{number}", user_id="ann", kind=gateway_pb2.EVENT_KIND_VIEW, item_id=f"item-{number}"
    )
