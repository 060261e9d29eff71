"""The real onnxruntime-gpu where there is no GPU: by itself it serves on the CPU without an error; our server does not.

The wheel lives in an environment of its own, where the extra `ranking-gpu` is installed and nothing else; the ranking
server runs there as a process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

TOP: Final = Path(__file__).parents[3]
GPU_PYTHON: Final = TOP / ".venv-gpu/bin/python"
TIMEOUT_S: Final = 120
pytestmark = [
    pytest.mark.skipif(
        not (GPU_PYTHON.parents[1] / "ready").exists(),
        reason="onnxruntime-gpu is not installed; `make test-gpu-wheel` installs it in .venv-gpu",
    ),
    pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU here: nothing would fall back"),
    pytest.mark.skipif(sys.platform != "linux", reason="onnxruntime-gpu is a wheel for Linux here"),
]
_OPEN: Final = """
import json, sys
import onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], providers=["CUDAExecutionProvider"])
print(json.dumps([ort.get_available_providers(), session.get_providers()]))
"""
# The loader itself says what is missing: it names the first library that it does not find.
_LINKED: Final = """
import ctypes, json
from pathlib import Path
import onnxruntime as ort
from common.gpu import libraries
missing = [library.file for library in libraries.missing("cuda")]
try:
    ctypes.CDLL(str(Path(ort.__file__).parent / "capi/libonnxruntime_providers_cuda.so"))
    error = ""
except OSError as raised:
    error = str(raised)
print(json.dumps([missing, error]))
"""


def test_the_wheel_falls_back_without_an_error(tiny_release: Path):
    """The wheel reports CUDA, accepts a session for CUDA alone, and runs it on the CPU."""
    model = next(tiny_release.glob("*/ranker/model.onnx"))
    said = subprocess.run(  # noqa: S603 - our own interpreter
        [GPU_PYTHON, "-c", _OPEN, str(model)], capture_output=True, env=_environment(), timeout=TIMEOUT_S, check=True
    )
    available, chosen = json.loads(said.stdout)
    assert {"CUDAExecutionProvider", "TensorrtExecutionProvider"} < set(available)
    assert chosen == ["CPUExecutionProvider"]


def test_what_the_provider_links_is_in_the_extra():
    """Every library that the wheel's CUDA provider links loads after the preload, but for the driver's."""
    said = subprocess.run(  # noqa: S603 - our own interpreter
        [GPU_PYTHON, "-c", _LINKED], cwd=TOP, capture_output=True, env=_environment(), timeout=TIMEOUT_S, check=True
    )
    missing, cuda_error = json.loads(said.stdout)
    assert missing == ["libcuda.so.1"]
    assert "libcuda.so.1" in cuda_error


def test_the_program_names_what_is_missing():
    """`python -m common.gpu` exits with 1 and names the driver and how to get it."""
    said = subprocess.run(  # noqa: S603 - our own interpreter
        [GPU_PYTHON, "-m", "common.gpu"],
        cwd=TOP,
        capture_output=True,
        env=_environment(),
        timeout=TIMEOUT_S,
        check=False,
    )
    assert said.returncode == 1
    assert said.stdout.startswith(b"missing: libcuda.so.1 (the NVIDIA driver); to get them: install the NVIDIA driver")


@pytest.mark.parametrize(
    ("provider", "name"), [("cuda", "CUDAExecutionProvider"), ("tensorrt", "TensorrtExecutionProvider")]
)
def test_the_server_refuses_to_start(tiny_release: Path, provider: str, name: str):
    """By default the server exits with 1, and its log names the missing provider and the alternatives."""
    with _server(tiny_release, "--provider", provider) as (server, _):
        _, errors = server.communicate(timeout=TIMEOUT_S)
    assert server.returncode == 1
    told = [line["event"] for line in _lines(errors) if line["level"] == "error"]
    assert f"{name} could not be started, missing: libcuda.so.1 (the NVIDIA driver)" in told[-1]
    assert ("libnvinfer.so.10" in told[-1]) == (provider == "tensorrt")
    assert "nvidia-" not in told[-1], "the extra brings every CUDA library"
    assert "missing_provider=degrade" in told[-1]


def test_the_server_degrades_loudly_where_told_to(tiny_release: Path):
    """The server runs on the CPU; GetRelease names its provider, and a warning in the log the missing one."""
    with _server(tiny_release, "--provider", "cuda", "--missing-provider", "degrade") as (server, port):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            told = health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S, wait_for_ready=True)
            assert any(answer.status == health_pb2.HealthCheckResponse.SERVING for answer in told)
            releases: Any = release_pb2_grpc.ReleaseServiceStub(channel)
            served = releases.GetRelease(release_pb2.GetReleaseRequest(), timeout=TIMEOUT_S).release
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=TIMEOUT_S)
    providers = {model.name: model.execution_provider for model in served.models}
    assert providers["cross_encoder"] == "CPUExecutionProvider"
    warned = [line for line in _lines(errors) if line["level"] == "warning"]
    degraded = [line for line in warned if "CUDAExecutionProvider could not be started" in line.get("reason", "")]
    assert {line["degraded_to"] for line in degraded} == {"CPUExecutionProvider"}
    assert server.returncode == 0


@contextmanager
def _server(store: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the ranking server of the other environment while the body runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "services.ranking", "--release", str(store), "--port", str(port), "--metrics-port", "0", *flags]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [GPU_PYTHON, *command], cwd=TOP, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as server:
        try:
            yield server, port
        finally:
            server.kill()


def _environment() -> dict[str, str]:
    """Return the environment without this interpreter's packages and settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SHORTLIST_", "PYTHON"))}


def _lines(errors: bytes) -> Sequence[dict[str, Any]]:
    """Return the server's log without the lines of onnxruntime."""
    return [json.loads(line) for line in errors.decode().splitlines() if line.startswith("{")]
