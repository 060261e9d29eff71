"""``doctor``: one line for each thing that a machine needs, with what to do where it is missing."""

from __future__ import annotations

import argparse
import json
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from shortlist.cli import machine
from shortlist.cli.connecting import connect, options, version
from shortlist.client.errors import ShortlistClientError

_PORTS: Final = {"gateway": 50051, "retrieval": 50052, "ranking": 50053}
_PACKAGES: Final = ("grpcio", "protobuf", "onnxruntime", "onnxruntime-gpu", "numpy", "faiss-cpu", "torch", "polars")
_BUILD_GIB: Final = 2.0
_FIRST_RELEASE_S: Final = 1_764_000_000  # no clock that is right shows an earlier time


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: ``ok``, ``note``, or ``FAIL``, which makes the exit code 1.
        subject: What was looked at.
        text: What was found.
        what_to_do: Empty if nothing.
    """

    level: str
    subject: str
    text: str
    what_to_do: str = ""

    def __str__(self) -> str:
        """Return the line."""
        return f"{self.level:<5} {self.subject:<10} {self.text}" + (f" -> {self.what_to_do}" if self.what_to_do else "")


def add_commands(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("doctor", parents=[options()], help="check this machine, a release and a gateway")
    parser.set_defaults(run=_run)
    parser.add_argument("--release", type=Path, help="release or release store to check")
    parser.add_argument("--redis", metavar="HOST:PORT", help="Redis server to check")
    parser.add_argument("--milvus", metavar="HOST:PORT", help="Milvus server to check")


def _run(arguments: argparse.Namespace) -> int:
    failed = False
    for finding in _findings(arguments):
        print(finding, flush=True)
        failed |= finding.level == "FAIL"
    return int(failed)


def _findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    yield Finding("ok", "shortlist", version())
    yield _python()
    yield _cores()
    yield _memory()
    yield _processor()
    yield from _packages()
    yield from _providers()
    yield _clock()
    yield from _ports()
    if arguments.release:
        yield _release(arguments.release)
    for name in ("redis", "milvus"):
        address = getattr(arguments, name)
        if address:
            yield _reachable(name, address, ping=name == "redis")
    yield _gateway(arguments)


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info >= (3, 11):
        return Finding("ok", "python", found)
    return Finding("note", "python", found, "clients run here; servers and the pipeline need Python 3.11")


def _cores() -> Finding:
    usable, quota = machine.usable_cores(), machine.quota_cores()
    if quota is not None and quota < usable:
        return Finding("ok", "cores", f"{usable}, of which the cgroup allows {quota:g}")
    return Finding("ok", "cores", str(usable))


def _memory() -> Finding:
    free = machine.free_gib()
    if free is None:
        return Finding("note", "memory", "unknown on this system")
    text = f"{free:.1f} GiB free"
    return (
        Finding("ok", "memory", text)
        if free >= _BUILD_GIB
        else Finding("note", "memory", text, f"a build needs about {_BUILD_GIB:g} GiB")
    )


def _processor() -> Finding:
    features = machine.processor_features()
    if not features:
        return Finding("note", "processor", "features unknown on this system")
    found = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp") if name in features]
    text = " ".join(found) or "none of avx2, avx512, vnni, dot product"
    if any(name in features for name in ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")):
        return Finding("ok", "processor", text)
    return Finding("note", "processor", text, "int8 models are slower here than on processors with VNNI")


def _packages() -> Iterator[Finding]:
    found = {name: number for name in _PACKAGES if (number := _installed(name))}
    yield Finding("ok", "packages", ", ".join(f"{name} {number}" for name, number in found.items()))
    if {"onnxruntime", "onnxruntime-gpu"} <= set(found):
        yield Finding(
            "FAIL", "packages", "onnxruntime and onnxruntime-gpu are the same package", "uninstall one of them"
        )


def _installed(name: str) -> str:
    try:
        return package_version(name)
    except PackageNotFoundError:
        return ""


def _providers() -> Iterator[Finding]:
    if find_spec("onnxruntime") is None:
        yield Finding("note", "provider", "onnxruntime is not installed", "pip install 'shortlist[ranking]' to serve")
        return
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415 - clients have none

    providers = onnxruntime.get_available_providers()
    yield Finding("ok", "provider", ", ".join(providers))
    if "CUDAExecutionProvider" in providers and find_spec("common") is not None:
        yield _gpu()


def _gpu() -> Finding:
    """Ask the checkout's program, in a process of its own, since libraries of CUDA stay loaded."""
    found = subprocess.run([sys.executable, "-m", "common.gpu"], capture_output=True, text=True, check=False)
    text = (found.stdout or found.stderr).strip().split("\n")[-1]
    return Finding("ok", "gpu", text) if found.returncode == 0 else Finding("note", "gpu", text)


def _clock() -> Finding:
    now_s = time.time()
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s < _FIRST_RELEASE_S:
        return Finding("FAIL", "clock", text, "set the clock; events and tokens carry its time")
    return Finding("ok", "clock", text)


def _ports() -> Iterator[Finding]:
    for name, port in _PORTS.items():
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                yield Finding("note", "port", f"{port} is taken", f"by a running {name}, or use --port")
            else:
                yield Finding("ok", "port", f"{port} is free for {name}")


def _release(path: Path) -> Finding:
    try:
        if (path / "CURRENT").is_file():
            path /= (path / "CURRENT").read_text(encoding="utf-8").strip()
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        missing = [name for name in manifest["files"] if not (path / name).is_file()]
    except (OSError, ValueError, KeyError) as error:
        return Finding("FAIL", "release", f"{path}: {error}", "build one: shortlist build --data FOLDER --out STORE")
    if missing:
        return Finding("FAIL", "release", f"{path} lacks {missing[0]}", "publish the release again")
    return Finding("ok", "release", f"{manifest['release_id']} of {manifest['created_at']}, all files are there")


def _reachable(name: str, address: str, *, ping: bool) -> Finding:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            if ping:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64).decode(errors="replace").strip()
                return Finding("ok", name, f"{address} answers {answer}")
    except (OSError, ValueError) as error:
        return Finding("FAIL", name, f"{address}: {error}", f"start {name}, or correct its address")
    return Finding("ok", name, f"{address} takes connections")


def _gateway(arguments: argparse.Namespace) -> Finding:
    try:
        with connect(arguments) as client:
            answer = client.release()
    except (ShortlistClientError, OSError, ValueError) as error:
        details = getattr(error, "details", error)
        return Finding("note", "gateway", f"{arguments.target}: {details}", "start it: shortlist serve --release STORE")
    return Finding("ok", "gateway", f"{arguments.target} serves {answer.release.release_id}")
