"""The gate that compressed cross-encoders pass."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import pytest
from onnx import helper
from rich.console import Console

from pipeline.build.builder import build
from pipeline.build.compression import gate
from pipeline.build.compression.gate import Compression, CompressionRefused
from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ndcg": 0.88}, "int8 loses 2.2% of NDCG@10"),
        ({"ndcg": float("nan")}, "int8 loses nan%"),
        ({"batch_dependence": 1e-4}, "batch-mates"),
    ],
)
def test_what_costs_too_much_is_refused(change: dict[str, float], message: str):
    """A compression passes within its share of NDCG@10, and not beyond, nor with scores that depend on the batch."""
    sound = {"bytes": 1, "bytes_before": 2, "ndcg": 0.895, "ndcg_before": 0.9, "logit_error": 0.1}
    Compression(**sound, batch_dependence=0.0).check("int8", max_ndcg_loss=0.01)
    with pytest.raises(CompressionRefused, match=message):
        Compression(**({**sound, "batch_dependence": 0.0} | change)).check("int8", max_ndcg_loss=0.01)


def test_release_is_refused_where_int8_ranks_worse(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A build whose compressed cross-encoder turns the order round publishes nothing and leaves nothing behind."""
    monkeypatch.setattr(gate, "quantise", lambda file, out, _: onnx.save(_negated(onnx.load(file)), out))
    settings = dataclasses.replace(tiny_settings, precision="int8")
    with pytest.raises(CompressionRefused, match="on validation"):
        build(tiny_dataset, tmp_path / "store", settings, ProgressReport(Console(quiet=True)))
    assert list((tmp_path / "store").iterdir()) == []


def _negated(model: onnx.ModelProto) -> onnx.ModelProto:
    last = next(node for node in model.graph.node if "logit" in node.output)
    last.output[:] = ["upright"]
    model.graph.node.append(helper.make_node("Neg", ["upright"], ["logit"]))
    return model


@pytest.mark.parametrize("change", [{"student_layers": 1}, {"trim_vocabulary": True}])
def test_release_is_refused_where_a_smaller_model_ranks_worse(
    change: dict[str, int], tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path: Path
):
    """Neither a student nor a trimmed vocabulary gets by a bar that nothing reaches, and nothing is left behind."""
    settings = dataclasses.replace(tiny_settings, max_ndcg_loss=-1.0, **change)
    with pytest.raises(CompressionRefused, match="on validation"):
        build(tiny_dataset, tmp_path / "store", settings, ProgressReport(Console(quiet=True)))
    assert list((tmp_path / "store").iterdir()) == []
