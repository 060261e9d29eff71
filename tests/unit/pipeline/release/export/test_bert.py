"""Exporting BERT to ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from common.onnx_session import OnnxModel, SessionOptions
from pipeline.learning.training_loop.run import load_base
from pipeline.release.export import bert
from pipeline.release.models import bert_graph

ONE_THREAD = SessionOptions(threads=1)


@pytest.fixture(scope="module")
def cross_encoder_file(tiny_base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("ranker") / "model.onnx"
    assert bert.export_cross_encoder(load_base(tiny_base_model, 2), file) <= bert.PARITY_TOLERANCE
    return file


def test_encoder_gives_unit_vectors_equal_to_torch(tiny_base_model: Path, tmp_path: Path):
    """The exported encoder equals torch's mean pooling, and its vectors have length 1."""
    file = tmp_path / "encoder.onnx"
    assert bert.export_encoder(BertModel.from_pretrained(tiny_base_model), file) <= bert.PARITY_TOLERANCE
    inputs = {"input_ids": np.array([[2, 9, 3, 0]]), "attention_mask": np.array([[1, 1, 1, 0]])}
    vectors = OnnxModel(file, ONE_THREAD).run(inputs)
    assert vectors.shape == (1, 32)
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0, abs=1e-6)


def test_scores_do_not_depend_on_batch_mates_or_padding(cross_encoder_file: Path):
    """A pair's logit is the same alone, among others, and behind any padding."""
    model = OnnxModel(cross_encoder_file, ONE_THREAD)
    generator = np.random.default_rng(1)
    lengths = np.array([5, 9, 30, 12])
    inside = np.arange(30) < lengths[:, None]
    batch = {
        "input_ids": generator.integers(5, 60, inside.shape) * inside,
        "attention_mask": inside.astype(np.int64),
        "token_type_ids": np.zeros(inside.shape, np.int64),
    }
    together = model.run(batch)
    for row, length in enumerate(lengths):
        alone = model.run({name: value[row : row + 1, :length] for name, value in batch.items()})
        assert alone[0] == pytest.approx(together[row], abs=1e-5)


def test_graph_that_computes_something_else_is_refused(
    tiny_base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An export whose outputs differ from torch's raises instead of leaving a model to release."""

    class Wrong(bert_graph.CrossEncoderGraph):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor):
            return super().forward(input_ids, attention_mask, token_type_ids) + 0.01

    monkeypatch.setattr(bert, "CrossEncoderGraph", Wrong)
    with pytest.raises(bert.ParityError, match="differs from torch"):
        bert.export_cross_encoder(load_base(tiny_base_model, 2), tmp_path / "model.onnx")
