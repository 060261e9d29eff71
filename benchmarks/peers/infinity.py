"""Infinity (https://github.com/michaelfeil/infinity): its server with torch on the CPU, its defaults, over HTTP."""

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

from benchmarks.harness.ranking_load import Answers
from benchmarks.peers.environment import environment
from common.errors import NotReady
from common.gc_freeze import freeze_heap
from pipeline.local_services import free_ports

REQUIREMENTS: Final = ("infinity-emb[server,torch]==0.0.78", "torch==2.13.0")
_START_S: Final = 300.0
_STOP_S: Final = 30.0
_PATIENCE_S: Final = 300.0


@dataclass(frozen=True)
class Infinity:
    """A server that runs."""

    port: int

    def load(self, bodies: Sequence[bytes], pairs: int, callers: int, seconds: float) -> Answers:
        """Have so many callers call one after the other for so long, on connections that stay open.

        Args:
            bodies: Calls, see `body`.
            pairs: How many texts each holds.
            callers: How many call at a time.
            seconds: For how long; each call begun is awaited and counted.
        """
        freeze_heap()  # as for our server
        began = time.perf_counter()
        with ThreadPoolExecutor(callers) as threads:
            latencies = list(threads.map(lambda one: self._call(bodies, one, began + seconds), range(callers)))
        answers = Answers(seconds=time.perf_counter() - began)
        answers.latencies_ms = [latency for of_caller in latencies for latency in of_caller]
        answers.pairs = pairs * len(answers.latencies_ms)
        return answers

    def scores(self, content: bytes) -> list[float]:
        """Return the scores of one call's texts, in their order."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)
        found = json.loads(_post(connection, content))["results"]
        connection.close()
        return [one["relevance_score"] for one in sorted(found, key=lambda one: one["index"])]

    def _call(self, bodies: Sequence[bytes], first: int, ends: float) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)
        latencies, number = [], first
        while time.perf_counter() < ends:
            began = time.perf_counter()
            _post(connection, bodies[number % len(bodies)])
            latencies.append((time.perf_counter() - began) * 1e3)
            number += 1
        connection.close()
        return latencies


def body(query: str, texts: Sequence[str]) -> bytes:
    """Return one call."""
    return json.dumps({"query": query, "documents": list(texts), "return_documents": False}).encode()


@contextmanager
def infinity(model: Path, log: Path, console: Console) -> Iterator[Infinity]:
    """Serve a model's folder with Infinity while the body runs; raises NotReady."""
    binaries = environment("infinity", REQUIREMENTS, console)
    [port] = free_ports(1)
    where = ["--host", "127.0.0.1", "--port", str(port)]
    what = ["--model-id", str(model.absolute()), "--engine", "torch", "--device", "cpu"]
    command = [str(binaries / "infinity_emb"), "v2", *what, *where]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603 - installed above
        try:
            _await_ready(process, port, log)
            yield Infinity(port)
        finally:
            process.terminate()
            process.wait(_STOP_S)


def _post(connection: http.client.HTTPConnection, content: bytes) -> bytes:
    connection.request("POST", "/rerank", content, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answered = response.read()
    if response.status != http.client.OK:
        raise NotReady(f"Infinity answered {response.status}: {answered[:500]!r}")
    return answered


def _await_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + _START_S
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
    raise NotReady(f"Infinity did not come up; {log} says why")
