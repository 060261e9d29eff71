"""Attention without softmax's shift."""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from transformers import BertForSequenceClassification

from common.ragged import TokenRows
from pipeline.learning.training_loop.run import load_base
from pipeline.release.export.bert import export_cross_encoder
from pipeline.release.export.unshifted_softmax import without_shift
from services.ranking.pairs.pair_tokens import ModelInputs, PairTemplate, TokenPairs

_RARE = 59  # a token that calibration never sees


@pytest.fixture(scope="module")
def model(tiny_base_model: Path) -> BertForSequenceClassification:
    torch.manual_seed(3)
    return load_base(tiny_base_model, 2)


@pytest.fixture(scope="module")
def pairs() -> TokenPairs:
    """Pairs of different lengths."""
    generator = np.random.default_rng(1)
    items = TokenRows.from_rows([generator.integers(5, _RARE, length) for length in (2, 9, 30, 17)])
    return PairTemplate(2, 3).join(TokenRows.from_rows([generator.integers(5, _RARE, 6)]), np.zeros(4, np.int64), items)


def _inputs(pairs: TokenPairs) -> dict[str, np.ndarray]:
    return asdict(ModelInputs.from_pairs(pairs))


def _exported(model: BertForSequenceClassification, folder: Path) -> onnx.ModelProto:
    export_cross_encoder(model, folder / "model.onnx")
    return onnx.load(folder / "model.onnx")


def _unshifted(model: onnx.ModelProto, pairs: TokenPairs) -> onnx.ModelProto:
    alone = [asdict(ModelInputs.from_pairs(pairs.part(row, row + 1))) for row in range(len(pairs))]
    return without_shift(copy.deepcopy(model), alone)


def _logits(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def _softmaxes(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "Softmax" for node in model.graph.node)


def test_scores_stay_what_they_were(model: BertForSequenceClassification, pairs: TokenPairs, tmp_path: Path):
    """Padded batches give the logits that softmax gives, and no softmax is left."""
    before = _exported(model, tmp_path)
    after = _unshifted(before, pairs)
    assert (_softmaxes(before), _softmaxes(after)) == (2, 0)
    np.testing.assert_allclose(_logits(after, _inputs(pairs)), _logits(before, _inputs(pairs)), atol=1e-6)


def test_padding_weighs_nothing_at_all(model: BertForSequenceClassification, pairs: TokenPairs, tmp_path: Path):
    """What stands where the mask is 0 changes no bit of the logits."""
    after = _unshifted(_exported(model, tmp_path), pairs)
    inputs = _inputs(pairs)
    filled = inputs | {"input_ids": np.where(inputs["attention_mask"], inputs["input_ids"], _RARE)}
    np.testing.assert_array_equal(_logits(after, filled), _logits(after, inputs))


def test_far_scores_keep_their_softmax(model: BertForSequenceClassification, pairs: TokenPairs, tmp_path: Path):
    """A layer whose scores float32's exponential could not take goes on shifting them; the other does not."""
    steep = copy.deepcopy(model)
    query = steep.bert.encoder.layer[0].attention.self.query
    query.weight.data *= 1e4
    query.bias.data *= 1e4
    before = _exported(steep, tmp_path)
    after = _unshifted(before, pairs)
    assert _softmaxes(after) == 1
    np.testing.assert_allclose(_logits(after, _inputs(pairs)), _logits(before, _inputs(pairs)), atol=1e-5)


@pytest.fixture(scope="module")
def odd(model: BertForSequenceClassification) -> BertForSequenceClassification:
    """A model in which one token alone, which calibration never sees, has huge scores: some 280 with itself."""
    odd = copy.deepcopy(model)
    attention = odd.bert.encoder.layer[0].attention.self
    with torch.no_grad():
        # The first dimension is what queries and keys are made of, and only this token has much of it.
        odd.bert.embeddings.word_embeddings.weight[:, 0] = 0
        odd.bert.embeddings.word_embeddings.weight[_RARE, 0] = 1e3
        for asked in (attention.query, attention.key):
            asked.weight[:] = 0
            asked.weight[0, 0] = 5
    return odd


def test_scores_beyond_calibration_are_cut_off(odd: BertForSequenceClassification, pairs: TokenPairs, tmp_path: Path):
    """Nothing overflows, for nothing is as far out as float32 goes, and what was not far stays as it was."""
    after = _unshifted(_exported(odd, tmp_path), pairs)
    assert _softmaxes(after) == 0
    inputs = _inputs(pairs)
    wanted = _logits(after, inputs)
    inputs["input_ids"][2, 12:14] = _RARE
    got = _logits(after, inputs)
    alone = _logits(after, {name: values[2:3] for name, values in inputs.items()})
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got[2:3], alone, atol=1e-6)
    np.testing.assert_array_equal(np.delete(got, 2), np.delete(wanted, 2))


def test_padding_far_out_weighs_nothing_either(odd: BertForSequenceClassification, pairs: TokenPairs, tmp_path: Path):
    """Calibration sees no padding, so its scores may be any: 0 times an infinite weight would be no number."""
    after = _unshifted(_exported(odd, tmp_path), pairs)
    inputs = _inputs(pairs)
    filled = inputs | {"input_ids": np.where(inputs["attention_mask"], inputs["input_ids"], _RARE)}
    np.testing.assert_array_equal(_logits(after, filled), _logits(after, inputs))
