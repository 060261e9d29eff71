"""The float16 form of a cross-encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch

from common.onnx_session import OnnxModel, SessionOptions
from pipeline.learning.training_loop.run import load_base
from pipeline.release.export.bert import export_cross_encoder
from pipeline.release.export.float16 import to_float16


def test_half_the_bytes_say_nearly_the_same(tiny_base_model: Path, tmp_path: Path):
    """Weights are float16, ids come in and float32 logits go out as before, and differ by rounding, padding or not."""
    torch.manual_seed(3)
    whole, half = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    export_cross_encoder(load_base(tiny_base_model, 2), whole)
    to_float16(whole, half)
    weights = [one for one in onnx.load(half).graph.initializer if len(one.dims) == 2]
    assert {one.data_type for one in weights} == {onnx.TensorProto.FLOAT16}
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    mask = np.array([[1] * 7, [1] * 4 + [0] * 3])
    inputs = {"input_ids": np.arange(14).reshape(2, 7) * mask, "attention_mask": mask, "token_type_ids": 0 * mask}
    wanted, got = (OnnxModel(file, SessionOptions(threads=1)).run(inputs) for file in (whole, half))
    assert got.dtype == np.float32
    assert 0 < np.abs(wanted - got).max() < 0.01
