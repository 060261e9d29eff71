"""Embedding and scoring on Ray, local or on a cluster, compared with one process."""

from __future__ import annotations

import importlib.util
import os
import secrets
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
# Ray takes 127.0.0.1 for an address that others cannot reach, and listens on the machine's own in its place.
LOOPBACK: Final = "127.0.0.2"


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
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment whose clusters require a token."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(secrets.token_hex(32))
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return ours | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[str]:
    """Return the address of a Ray cluster of one node."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    node = ["--head", "--block", f"--port={port}", f"--node-ip-address={LOOPBACK}", "--include-dashboard=false"]
    log = tmp_path_factory.mktemp("cluster") / "log"
    started = [sys.executable, "-m", "ray.scripts.scripts", "start", *node, "--num-cpus=2"]
    with log.open("w") as output, subprocess.Popen(started, stdout=output, stderr=output, env=environment) as process:  # noqa: S603 - our own interpreter
        try:
            _await_port(process, port)
            yield f"{LOOPBACK}:{port}"
        finally:
            process.terminate()


@pytest.mark.parametrize(("command", "given", "found"), [("embed", "items", "vector"), ("score", "pairs", "logit")])
def test_ray_finds_what_one_process_does(
    command: str,
    given: str,
    found: str,
    tiny_release: Path,
    tables: Path,
    tmp_path: Path,
    cluster: str,
    environment: dict[str, str],
):
    """Each row is the same as in one process, on local workers and on a cluster."""
    task = [command, "--release", str(tiny_release), f"--{given}", str(tables / given), "--batch", "50"]
    _pipeline(environment, *task, "--out", str(tmp_path / "process"))
    plain = pl.read_parquet(tmp_path / "process")
    for name, where in (("here", []), ("cluster", ["--ray-address", cluster])):
        _pipeline(environment, *task, "--out", str(tmp_path / name), "--workers", "ray", *where)
        rays = pl.read_parquet(tmp_path / name)
        assert rays.drop(found).equals(plain.drop(found))
        np.testing.assert_allclose(rays[found].to_numpy(), plain[found].to_numpy(), atol=1e-5)


def test_a_cluster_that_asks_for_a_token_is_named(
    tiny_release: Path, tables: Path, tmp_path: Path, cluster: str, environment: dict[str, str]
):
    """Without the token the command fails with one line, and writes nothing."""
    task = ["embed", "--release", str(tiny_release), "--items", str(tables / "items"), "--out", str(tmp_path / "out")]
    without = {name: value for name, value in environment.items() if "AUTH" not in name}
    done = _run(without, *task, "--workers", "ray", "--ray-address", cluster)
    assert done.returncode == 1
    assert "RAY_AUTH_MODE=token" in done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def _pipeline(environment: dict[str, str], *arguments: str) -> None:
    done = _run(environment, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def _run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "pipeline", *arguments],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        env=environment,
    )


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    ends = time.monotonic() + 240
    while True:
        assert process.poll() is None
        assert time.monotonic() < ends
        with socket.socket() as trial:
            trial.settimeout(1)
            if trial.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.1)
