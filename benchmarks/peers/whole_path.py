"""Search servers as a team builds them in a day: FastAPI in front of hnswlib or LanceDB, with a cross-encoder."""

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
from urllib.parse import urlencode

import numpy as np
from rich.console import Console

from benchmarks.harness.ranking_load import LoadResult
from benchmarks.peers.environment import environment
from common.arrays import Float32Array
from common.errors import NotReady
from common.gc_freeze import freeze_heap
from pipeline.local_services import free_ports

ENGINES: Final = ("hnswlib", "lancedb")
REQUIREMENTS: Final = (
    "fastapi==0.165.0",
    "uvicorn==0.54.0",
    "hnswlib==0.8.0",
    "lancedb==0.40.0",
    "sentence-transformers==6.2.0",
    "torch==2.13.0",
)
_SERVER: Final = Path(__file__).with_name("whole_path_server.py")
_START_TIMEOUT_S: Final = 600.0
_STOP_TIMEOUT_S: Final = 30.0
_REQUEST_TIMEOUT_S: Final = 300.0


@dataclass(frozen=True)
class Shop:
    """What the peers serve.

    Attributes:
        item_ids: The items' ids.
        titles: Their titles.
        vectors: Their unit vectors; shape [items, dimension].
        encoder: Folder of the encoder that made the vectors, in Hugging Face's format.
        cross_encoder: Folder of the cross-encoder.
    """

    item_ids: Sequence[str]
    titles: Sequence[str]
    vectors: Float32Array
    encoder: Path
    cross_encoder: Path


@dataclass(frozen=True)
class SearchServer:
    """A running server."""

    port: int

    def search(self, query: str) -> list[str]:
        """Return the ids of the best ten items."""
        connection = self._connect()
        found = _get(connection, query)
        connection.close()
        return found

    def load(self, queries: Sequence[str], callers: int, seconds: float) -> LoadResult:
        """Have each of ``callers`` search again and again for ``seconds``; calls begun by then are awaited."""
        freeze_heap()  # as for our own server
        began = time.perf_counter()
        with ThreadPoolExecutor(callers) as threads:
            taken = list(threads.map(lambda one: self._search(queries[one::callers], began + seconds), range(callers)))
        result = LoadResult(seconds=time.perf_counter() - began)
        result.latencies_ms = [latency for of_caller in taken for latency in of_caller]
        return result

    def _search(self, queries: Sequence[str], ends: float) -> list[float]:
        connection = self._connect()
        latencies: list[float] = []
        while time.perf_counter() < ends:
            began = time.perf_counter()
            _get(connection, queries[len(latencies) % len(queries)])
            latencies.append((time.perf_counter() - began) * 1e3)
        connection.close()
        return latencies

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=_REQUEST_TIMEOUT_S)


@contextmanager
def search_server(engine: str, shop: Shop, folder: Path, console: Console) -> Iterator[SearchServer]:
    """Run the server of an engine of ENGINES while the body runs; raises NotReady."""
    binaries = environment("whole-path", REQUIREMENTS, console)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "items.json").write_text(json.dumps([list(shop.item_ids), list(shop.titles)]))
    np.save(folder / "vectors.npy", shop.vectors)
    [port] = free_ports(1)
    # Isolated: the script's folder has modules of the libraries' names.
    options = (engine, folder, shop.encoder.absolute(), shop.cross_encoder.absolute(), port)
    command = [str(part) for part in (binaries / "python", "-I", _SERVER, *options)]
    log = folder / f"{engine}.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603 - installed above
        try:
            server = SearchServer(port)
            _await_ready(process, server, log)
            yield server
        finally:
            process.terminate()
            process.wait(_STOP_TIMEOUT_S)


def _get(connection: http.client.HTTPConnection, query: str) -> list[str]:
    connection.request("GET", f"/search?{urlencode({'query': query})}")
    response = connection.getresponse()
    answered = response.read()
    if response.status != http.client.OK:
        raise NotReady(f"the server answered {response.status}: {answered[:500]!r}")
    found: list[str] = json.loads(answered)
    return found


def _await_ready(process: subprocess.Popen[bytes], server: SearchServer, log: Path) -> None:
    ends = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < ends:
        try:
            server.search("warm up")
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise NotReady(f"the server did not start; see {log}")
