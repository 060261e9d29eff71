"""ONNX Runtime sessions run on the provider that was asked for, or say why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from structlog.testing import capture_logs

from common import onnx_session
from common.cpu import usable_cores
from common.errors import BadRelease, NotReady
from common.gpu.failures import DeviceLost, OutOfDeviceMemory
from common.onnx_session import OnnxModel, SessionOptions

X = {"x": np.array([1.0, 2.0], dtype=np.float32)}
without_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="onnxruntime-gpu is installed here"
)


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    """Return a model that adds its input to itself."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"], name="sum")], "doubling", values[:1], values[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    file = tmp_path / "model.onnx"
    onnx.save(model, file)
    return file


def test_a_model_runs_on_the_cpu(doubling: Path):
    """A model on the CPU says so, names its inputs, and returns its first output."""
    model = OnnxModel(doubling, SessionOptions(threads=1))
    assert model.provider == "CPUExecutionProvider"
    assert model.input_names == ["x"]
    np.testing.assert_array_equal(model.run({"x": np.array([1.0, 2.0], dtype=np.float32)}), [2.0, 4.0])


def test_a_graph_may_be_left_as_it_is(doubling: Path):
    """Without onnxruntime's rewriting a model says the same."""
    model = OnnxModel(doubling, SessionOptions(threads=1, optimised=False))
    assert model._session.get_session_options().graph_optimization_level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    np.testing.assert_array_equal(model.run({"x": np.array([1.0, 2.0], dtype=np.float32)}), [2.0, 4.0])


def test_what_is_asked_for_is_compared_with_what_runs():
    """Metrics tell a model on the CPU that was to run on a GPU."""
    assert SessionOptions().is_met_by("CPUExecutionProvider")
    assert SessionOptions(provider="cuda").is_met_by("CUDAExecutionProvider")
    assert not SessionOptions(provider="cuda").is_met_by("CPUExecutionProvider")


@without_cuda
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_installed_is_refused(doubling: Path, provider: str):
    """Asking the CPU package for a GPU is NotReady and says what to install and what to choose instead."""
    with pytest.raises(NotReady, match=r"ranking-gpu.*missing_provider=degrade"):
        OnnxModel(doubling, SessionOptions(provider=provider))


@without_cuda
def test_a_provider_that_is_not_installed_degrades_when_told_to(doubling: Path):
    """With `degrade` the model serves on the CPU, says that it does, and a warning in the log says why."""
    with capture_logs() as logged:
        model = OnnxModel(doubling, SessionOptions(provider="cuda", missing_provider="degrade"))
    assert model.provider == "CPUExecutionProvider"
    assert [line["log_level"] for line in logged] == ["warning"]
    assert "has no CUDAExecutionProvider" in logged[0]["reason"]


@without_cuda
def test_a_silent_fall_back_is_noticed(doubling: Path, monkeypatch: pytest.MonkeyPatch):
    """Where onnxruntime claims to have CUDA and starts on the CPU all the same, that is NotReady."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(NotReady, match="onnxruntime chose CPUExecutionProvider"),
    ):
        OnnxModel(doubling, SessionOptions(provider="cuda"))


def test_a_file_that_is_no_model_is_a_bad_release(tmp_path: Path):
    """A damaged model file is BadRelease and names the file."""
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(BadRelease, match=r"model\.onnx"):
        OnnxModel(tmp_path / "model.onnx", SessionOptions())


def test_there_is_a_core_to_use():
    """At least one core may be used, however small the quota."""
    assert usable_cores() >= 1


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a provider of the CPU's wheel that has no kernel for any node stand in for CUDA."""
    monkeypatch.setitem(onnx_session._NAMES, "cuda", "AzureExecutionProvider")
    monkeypatch.setattr(onnx_session, "_providers", lambda options: [onnx_session._NAMES[options.provider]])


@pytest.mark.usefixtures("without_kernels")
def test_a_node_without_a_kernel_is_refused(doubling: Path):
    """The session's name is the provider's, its only node runs on the CPU: that is NotReady and names the node."""
    with pytest.raises(NotReady, match=r"no kernel for a part of model\.onnx: 1 nodes .* on the CPU: Add sum; choose"):
        OnnxModel(doubling, SessionOptions(provider="cuda"))


@pytest.mark.usefixtures("without_kernels")
def test_a_listed_operator_may_run_on_the_cpu(doubling: Path):
    """Where the operator is allowed on the CPU, the model is served."""
    model = OnnxModel(doubling, SessionOptions(provider="cuda", cpu_operators=frozenset({"Add"})))
    assert model.provider == "AzureExecutionProvider"
    np.testing.assert_array_equal(model.run(X), [2.0, 4.0])


@pytest.mark.usefixtures("without_kernels")
def test_degrading_says_what_serves_instead(doubling: Path):
    """From TensorRT to CUDA, whose kernels do not suffice, to the CPU: each step is a warning with its reason."""
    with capture_logs() as logged:
        model = OnnxModel(doubling, SessionOptions(provider="tensorrt", missing_provider="degrade"))
    assert model.provider == "CPUExecutionProvider"
    steps = [(line["requested"], line["degraded_to"]) for line in logged]
    cuda = "AzureExecutionProvider"
    assert steps == [("TensorrtExecutionProvider", cuda), (cuda, "CPUExecutionProvider")]
    assert "Add sum" in logged[1]["reason"]


@pytest.mark.parametrize(("tf32", "value"), [(False, "0"), (True, "1")])
def test_tf32_is_a_choice(tf32: bool, value: str):
    """CUDA, and the CUDA behind TensorRT, get TF32 only where it is set; it is not by default."""
    assert SessionOptions().tf32 is False
    for provider in ("cuda", "tensorrt"):
        name, given = onnx_session._providers(SessionOptions(provider=provider, tf32=tf32))[-1]
        assert (name, given["use_tf32"]) == ("CUDAExecutionProvider", value)


def test_missing_libraries_are_named(doubling: Path, monkeypatch: pytest.MonkeyPatch):
    """Where onnxruntime has CUDA and the loader finds none of its libraries, the error names them and the command."""
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine may have the libraries")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "cuda_version", "13.0")
    with pytest.raises(NotReady, match=r"missing: libcuda\.so\.1 .*nvidia-cublas.*\.\[ranking-gpu\]"):
        OnnxModel(doubling, SessionOptions(provider="cuda"))


class BrokenSession:
    """Raises one error in every run, and counts the runs."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.runs = 0

    def run(self, names: Any, inputs: Any) -> Any:
        """Fail."""
        del names, inputs
        self.runs += 1
        raise RuntimeError(self.text)


def test_a_lost_gpu_is_reported_once(doubling: Path, monkeypatch: pytest.MonkeyPatch):
    """A sticky error is reported once, and the GPU is not asked again."""
    reported: list[DeviceLost] = []
    model = OnnxModel(doubling, SessionOptions(on_device_lost=reported.append))
    broken = BrokenSession("CUDA failure 700: an illegal memory access was encountered ; GPU=0")
    monkeypatch.setattr(model, "_session", broken)
    for _ in range(3):
        with pytest.raises(DeviceLost, match="until this process is started again"):
            model.run(X)
    assert [broken.runs, len(reported)] == [1, 1]


def test_too_little_memory_and_other_errors_pass(doubling: Path, monkeypatch: pytest.MonkeyPatch):
    """Running out of memory has an error of its own; what is not the GPU's fault is raised as it is."""
    model = OnnxModel(doubling, SessionOptions())
    with monkeypatch.context() as patch:
        patch.setattr(model, "_session", BrokenSession("CUDA failure 2: out of memory ; GPU=0"))
        with pytest.raises(OutOfDeviceMemory):
            model.run(X)
        patch.setattr(model, "_session", BrokenSession("Invalid rank"))
        with pytest.raises(RuntimeError, match="Invalid rank"):
            model.run(X)
    np.testing.assert_array_equal(model.run(X), [2.0, 4.0])
