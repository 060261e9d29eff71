"""Embedding and scoring on Ray: workers on this machine, and a cluster by its address, against one process."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pytest

pytestmark = [
    pytest.mark.timeout(1_200),  # workers import much, and on a busy machine slowly
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed; `make test-scale` installs it"
    ),
]

_TIMEOUT_S: Final = 600


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, tiny_items: pl.DataFrame) -> Path:
    """Return a folder with items and pairs, each in several files."""
    folder = tmp_path_factory.mktemp("tables")
    ids = tiny_items["item_id"].to_list()
    pairs = pl.DataFrame(
        {
            "pair": range(600),
            "item_id": [ids[number % 240] for number in range(600)],
            "query": [None if number % 3 else "red milk" for number in range(600)],
            "history": [ids[number % 7 : number % 7 + number % 4] for number in range(600)],
        }
    )
    for name, table in (("items", tiny_items), ("pairs", pairs)):
        (folder / name).mkdir()
        for number, part in enumerate(table.iter_slices(table.height // 3)):
            part.write_parquet(folder / name / f"{number}.parquet")
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a Ray cluster of one node."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    node = ["--head", "--block", f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
    log = tmp_path_factory.mktemp("cluster") / "log"
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    started = [sys.executable, "-m", "ray.scripts.scripts", "start", *node, "--num-cpus=2"]
    with log.open("w") as output, subprocess.Popen(started, stdout=output, stderr=output, env=environment) as process:  # noqa: S603 - our own interpreter
        _await_port(process, port)
        yield f"127.0.0.1:{port}"
        process.terminate()


@pytest.mark.parametrize(("command", "given", "found"), [("embed", "items", "vector"), ("score", "pairs", "logit")])
def test_ray_finds_what_one_process_does(
    command: str, given: str, found: str, tiny_release: Path, tables: Path, tmp_path: Path, cluster: str
):
    """Row by row the same, on workers started here and on a cluster."""
    task = [command, "--release", str(tiny_release), f"--{given}", str(tables / given), "--batch", "50"]
    _pipeline(*task, "--out", str(tmp_path / "process"))
    plain = pl.read_parquet(tmp_path / "process")
    for name, where in (("here", []), ("cluster", ["--ray-address", cluster])):
        _pipeline(*task, "--out", str(tmp_path / name), "--workers", "ray", *where)
        rays = pl.read_parquet(tmp_path / name)
        assert rays.drop(found).equals(plain.drop(found))
        np.testing.assert_allclose(rays[found].to_numpy(), plain[found].to_numpy(), atol=1e-5)


def _pipeline(*arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "pipeline", *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    ends = time.monotonic() + 60
    while True:
        assert process.poll() is None
        assert time.monotonic() < ends
        with socket.socket() as trial:
            trial.settimeout(1)
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
