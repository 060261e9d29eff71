"""A retrieval service in a process of its own, for as long as it is measured."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.errors import NotReady

_START_S: Final = 300.0
_STOP_S: Final = 60.0


@dataclass(frozen=True)
class LocalRetrieval:
    """A retrieval service that runs.

    Attributes:
        target: Its gRPC address.
        metrics: Address of its Prometheus metrics.
        process: Its process.
        started_s: How long it took from its start until it served, in seconds.
    """

    target: str
    metrics: str
    process: subprocess.Popen[bytes]
    started_s: float

    def cpu_s(self) -> float:
        """Return the processor time it has used, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def local_retrieval(release: Path, folder: Path, flags: Sequence[str] = ()) -> Iterator[LocalRetrieval]:
    """Run the service on free ports while the body runs.

    Args:
        release: The release to serve.
        folder: For its log and its live changes.
        flags: Further settings.

    Raises:
        NotReady: It did not come up; the message ends with the log's end.
    """
    port, metrics_port = _free_ports()
    places = ["--release", str(release), "--data-dir", str(folder / "changes")]
    ports = ["--port", str(port), "--metrics-port", str(metrics_port)]
    log = folder / "retrieval.log"
    began = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "services.retrieval", *places, *ports, *flags], stdout=output, stderr=output
        )
        try:
            _await_serving(f"127.0.0.1:{port}", process, log)
            started_s = time.perf_counter() - began
            yield LocalRetrieval(f"127.0.0.1:{port}", f"127.0.0.1:{metrics_port}", process, started_s)
        finally:
            process.terminate()
            process.wait(_STOP_S)


def _await_serving(target: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < ends:
        with grpc.insecure_channel(target) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0, wait_for_ready=True)
            except grpc.RpcError:
                continue
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return
        time.sleep(0.1)
    raise NotReady(f"the retrieval service did not come up; the end of {log}:\n{log.read_text()[-2_000:]}")


def _free_ports() -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(2)]
        for trial in sockets:
            trial.bind(("127.0.0.1", 0))
        return [int(trial.getsockname()[1]) for trial in sockets]
