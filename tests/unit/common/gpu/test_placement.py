"""Nodes on a provider that was not asked for are named."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from common.gpu import placement


@pytest.fixture
def session(tmp_path: Path) -> ort.InferenceSession:
    """Return a session for a provider without a kernel for any of the graph's nodes."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    shape = helper.make_tensor_value_info("n", TensorProto.INT64, [1])
    nodes = [
        helper.make_node("Add", ["x", "x"], ["a"], name="sum"),
        helper.make_node("Relu", ["a"], ["y"]),
        helper.make_node("Shape", ["x"], ["n"], name="size"),
    ]
    graph = helper.make_graph(nodes, "graph", values[:1], [values[1], shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    options = ort.SessionOptions()
    options.add_session_config_entry(placement.RECORD, "1")
    return ort.InferenceSession(tmp_path / "model.onnx", options, providers=["AzureExecutionProvider"])


def test_nodes_of_another_provider_are_named(session: ort.InferenceSession):
    """The session's first provider is the requested one, and yet every node runs on the CPU."""
    assert session.get_providers()[0] == "AzureExecutionProvider"
    assert placement.strays(session, {"AzureExecutionProvider"}) == ["Add sum", "Relu"]


def test_listed_operators_and_meant_providers_are_no_strays(session: ort.InferenceSession):
    """An operator that is allowed may run anywhere, and so may all nodes on a provider that is meant."""
    assert placement.strays(session, {"AzureExecutionProvider"}, {"Add"}) == ["Relu", "Shape size"]
    assert placement.strays(session, {"CPUExecutionProvider"}) == []


def test_a_long_list_is_counted():
    """The first five nodes are named, and the others counted."""
    assert placement.explain(["Add a", "Mul b"]) == "2 nodes of the graph would run on the CPU: Add a, Mul b"
    assert placement.explain([f"Add {number}" for number in range(8)]).endswith("Add 4 and 3 more")


def test_operators_are_separated_by_commas():
    """Spaces and empty words do not count."""
    assert placement.operator_names("Add, Mul,") == {"Add", "Mul"}
    assert placement.operator_names("") == frozenset()
