"""The int8 form of a cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from common.onnx_session import OnnxModel, SessionOptions
from common.ragged import TokenRows
from pipeline.build.compression import gate as compression
from pipeline.build.compression.gate import Form, compare
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.training_loop.run import load_base
from pipeline.progress import ProgressStep
from pipeline.release.export.bert import export_cross_encoder
from pipeline.release.export.int8 import quantise
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.pairs.pair_tokens import PairTemplate, TokenPairs

SILENT = ProgressStep(None, "", None)


def _pairs(generator: np.random.Generator, count: int = 10) -> TokenPairs:
    items = TokenRows.from_rows([generator.integers(5, 60, generator.integers(2, 30)) for _ in range(count)])
    context = TokenRows.from_rows([generator.integers(5, 60, 6)])
    return PairTemplate(2, 3).join(context, np.zeros(count, np.int64), items)


@pytest.fixture(scope="module")
def full(tiny_base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    model = load_base(tiny_base_model, 2)
    for weights in model.parameters():
        weights.data *= 3.0  # logits that still differ after rounding
    file = tmp_path_factory.mktemp("full") / "model.onnx"
    export_cross_encoder(model, file)
    return file


@pytest.fixture(scope="module")
def small(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("small") / "model.onnx"
    generator = np.random.default_rng(1)
    quantise(full, file, [_pairs(generator) for _ in range(4)])
    return file


@pytest.fixture(scope="module")
def examples(full: Path) -> list[RankingExample]:
    """Candidates that the model in float32 ranks without fault."""
    generator, model = np.random.default_rng(2), CrossEncoder(OnnxModel(full, SessionOptions(threads=1)))
    all_pairs = [_pairs(generator) for _ in range(6)]
    logits = [compression._logits(model, pairs) for pairs in all_pairs]
    labels = [(np.argsort(np.argsort(scores)) / 10).astype(np.float32) for scores in logits]
    return [RankingExample(pairs, graded) for pairs, graded in zip(all_pairs, labels, strict=True)]


def test_int8_scores_do_not_depend_on_batch_mates(small: Path, examples: Sequence[RankingExample]):
    """A pair's probability is the same alone and among longer and shorter ones."""
    model = CrossEncoder(OnnxModel(small, SessionOptions(threads=1)))
    assert compression.batch_dependence(model, [example.pairs for example in examples]) <= 1e-5


def test_int8_says_what_the_full_model_says(full: Path, small: Path, examples: Sequence[RankingExample]):
    """It ranks nearly alike in a smaller file, and the comparison tells by how much it differs."""
    found = compare(Form(full, examples), Form(small, examples), SILENT)
    assert found.ndcg_before == pytest.approx(1.0)
    assert 0.97 < found.ndcg <= 1.0
    assert 0 < found.logit_error < 0.5
    assert found.bytes < found.bytes_before
    found.check("int8", max_ndcg_loss=0.03)


def test_int8_multiplies_integers(small: Path):
    """Every product with a weight has 8-bit factors, a scale for each output channel, and takes its bias along."""
    graph = onnx.load(small).graph
    products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    constants = {one.name: one for one in graph.initializer}
    assert len(products) == 6 + 4  # the last layer multiplies each token with neither keys nor values
    for node in products:
        _, weight, _, scale, _, _, bias = (constants.get(name) for name in node.input)
        assert weight is not None
        assert weight.data_type == onnx.TensorProto.INT8
        assert scale is not None
        assert bias is not None
        assert list(scale.dims) == list(bias.dims) == [weight.dims[1]]


def test_only_products_with_weights_read_rounded_values(small: Path):
    """What is added, normalised or attended to is as exact as in float32."""
    graph = onnx.load(small).graph
    rounded = {node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert {node.op_type for node in graph.node if rounded & set(node.input)} == {"MatMulIntegerToFloat"}
    assert not [node for node in graph.node if node.op_type == "DequantizeLinear"]


def test_the_same_model_compresses_to_the_same_bytes(full: Path, small: Path, tmp_path: Path):
    """So that the same data and settings give the same release."""
    generator = np.random.default_rng(1)
    quantise(full, tmp_path / "again.onnx", [_pairs(generator) for _ in range(4)])
    assert (tmp_path / "again.onnx").read_bytes() == small.read_bytes()
