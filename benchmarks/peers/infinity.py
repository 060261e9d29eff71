"""Infinity (https://github.com/michaelfeil/infinity): its server over HTTP, with torch on the CPU and its defaults."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.harness.ranking_load import LoadResult
from benchmarks.peers.environment import environment
from common.errors import NotReady
from common.gc_freeze import freeze_heap
from pipeline.local_services import free_ports

REQUIREMENTS: Final = ("infinity-emb[server,torch]==0.0.78", "torch==2.13.0")
_START_TIMEOUT_S: Final = 300.0
_STOP_TIMEOUT_S: Final = 30.0
_REQUEST_TIMEOUT_S: Final = 300.0


@dataclass(frozen=True)
class Infinity:
    """A running server."""

    port: int

    def load(self, bodies: Sequence[bytes], pairs: int, callers: int, seconds: float) -> LoadResult:
        """Have each of ``callers`` call again and again for ``seconds``, on connections that stay open.

        Args:
            bodies: Calls, see `body`.
            pairs: Texts of each call.
            callers: Concurrent callers.
            seconds: The duration; calls begun by then are awaited and counted.
        """
        freeze_heap()  # as for our own server
        began = time.perf_counter()
        with ThreadPoolExecutor(callers) as threads:
            latencies = list(threads.map(lambda one: self._call(bodies, one, began + seconds), range(callers)))
        result = LoadResult(seconds=time.perf_counter() - began)
        result.latencies_ms = [latency for of_caller in latencies for latency in of_caller]
        result.pairs = pairs * len(result.latencies_ms)
        return result

    def scores(self, content: bytes) -> list[float]:
        """Return the scores of one call's texts in their order."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_REQUEST_TIMEOUT_S)
        found = json.loads(_post(connection, content))["results"]
        connection.close()
        return [one["relevance_score"] for one in sorted(found, key=lambda one: one["index"])]

    def _call(self, bodies: Sequence[bytes], first: int, ends: float) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_REQUEST_TIMEOUT_S)
        latencies, number = [], first
        while time.perf_counter() < ends:
            began = time.perf_counter()
            _post(connection, bodies[number % len(bodies)])
            latencies.append((time.perf_counter() - began) * 1e3)
            number += 1
        connection.close()
        return latencies


def body(query: str, texts: Sequence[str]) -> bytes:
    """Return the body of one call."""
    return json.dumps({"query": query, "documents": list(texts), "return_documents": False}).encode()


@contextmanager
def infinity(model: Path, log: Path, console: Console) -> Iterator[Infinity]:
    """Serve the model of a folder with Infinity while the body runs; raises NotReady."""
    binaries = environment("infinity", REQUIREMENTS, console)
    [port] = free_ports(1)
    address = ["--host", "127.0.0.1", "--port", str(port)]
    options = ["--model-id", str(model.absolute()), "--engine", "torch", "--device", "cpu"]
    command = [str(binaries / "infinity_emb"), "v2", *options, *address]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603 - installed above
        try:
            _await_ready(process, port, log)
            yield Infinity(port)
        finally:
            process.terminate()
            process.wait(_STOP_TIMEOUT_S)


def _post(connection: http.client.HTTPConnection, content: bytes) -> bytes:
    connection.request("POST", "/rerank", content, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answered = response.read()
    if response.status != http.client.OK:
        raise NotReady(f"Infinity answered {response.status}: {answered[:500]!r}")
    return answered


def _await_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < ends:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            time.sleep(0.5)
        finally:
            connection.close()
    raise NotReady(f"Infinity did not start; see {log}")
