"""ONNX Runtime sessions run on the provider that was asked for, or say why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from structlog.testing import capture_logs

from common.cpu import usable_cores
from common.errors import BadRelease, NotReady
from common.onnx_session import OnnxModel, SessionOptions

without_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="onnxruntime-gpu is installed here"
)


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    """Return a model that adds its input to itself."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", values[:1], values[1:])
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
