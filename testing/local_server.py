"""One service as a process of its own, for as long as it is measured or tested."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.local_services import await_serving, free_ports

_START_TIMEOUT_S: Final = 300.0
_STOP_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True)
class LocalServer:
    """A running service.

    Attributes:
        target: Its gRPC address.
        metrics: The address of its Prometheus metrics.
        pid: Its process.
        start_s: Seconds from the start of the process until the service was ready.
    """

    target: str
    metrics: str
    pid: int
    start_s: float

    def cpu_s(self) -> float:
        """Return the processor time used so far, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_running(self) -> bool:
        """Return whether its process has not ended."""
        return Path(f"/proc/{self.pid}/statm").read_text().split()[0] != "0"

    def memory_bytes(self) -> int:
        """Return the resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def local_server(service: str, settings: Mapping[str, Any], log: Path) -> Iterator[LocalServer]:
    """Run ``python -m services.SERVICE`` on free ports while the body runs.

    Args:
        service: `retrieval`, `ranking` or `gateway`.
        settings: Its settings, by flag without the dashes.
        log: The file of its output.

    Raises:
        NotReady: The service did not start; the message ends with the last lines of the log.
    """
    port, metrics_port = free_ports(2)
    flags = {"port": port, "metrics-port": metrics_port, "log-level": "warning"} | dict(settings)
    command = [sys.executable, "-m", f"services.{service}", *(f"--{name}={value}" for name, value in flags.items())]
    began = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603 - our own interpreter and module
        try:
            target = f"127.0.0.1:{port}"
            await_serving(process, {service: target}, log, _START_TIMEOUT_S)
            yield LocalServer(target, f"127.0.0.1:{metrics_port}", process.pid, time.perf_counter() - began)
        finally:
            process.terminate()
            process.wait(_STOP_TIMEOUT_S)
