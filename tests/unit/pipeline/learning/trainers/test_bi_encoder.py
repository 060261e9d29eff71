"""Fine-tuning the encoder."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from common.ragged import TokenRows
from pipeline.learning.trainers.bi_encoder import SCALE, EncoderExample, contrastive_loss, ordered_loss, train_encoder
from pipeline.release.config.training_settings import EncoderTraining
from pipeline.release.models.bert_graph import EncoderGraph

NAN = float("nan")


def test_contrastive_loss_by_hand():
    """Two queries with one good item each: the other's item and a mined one are what it is told from."""
    cosines = torch.tensor([[0.9, 0.1, 0.5], [0.0, 0.8, 0.2]])
    loss = contrastive_loss(cosines, torch.tensor([0, 1, 0]), torch.tensor([1.0, 0.5, NAN]))
    shares = [math.exp(SCALE * 0.9) / sum(math.exp(SCALE * c) for c in (0.9, 0.1, 0.5))]
    shares += [math.exp(SCALE * 0.8) / sum(math.exp(SCALE * c) for c in (0.0, 0.8, 0.2))]
    assert float(loss) == pytest.approx(-sum(map(math.log, shares)) / 2, abs=1e-6)


def test_a_query_with_nothing_good_teaches_nothing_here():
    """Without a grade above 0 there is nothing to draw near."""
    loss = contrastive_loss(torch.tensor([[0.3, 0.2]]), torch.tensor([0, 0]), torch.tensor([0.0, 0.0]))
    assert float(loss) == 0.0


def test_ordered_loss_by_hand():
    """Only pairs of different grades count, each by how far the worse one is ahead."""
    loss = ordered_loss(torch.tensor([0.5, 0.6, 0.6]), torch.tensor([1.0, 0.0, 0.0]))
    assert float(loss) == pytest.approx(math.log(1 + 2 * math.exp(SCALE * 0.1)), rel=1e-5)
    assert float(ordered_loss(torch.tensor([0.5, 0.1]), torch.tensor([1.0, 1.0]))) == 0.0


def test_training_draws_queries_to_what_fits(tiny_base_model: Path, tmp_path: Path):
    """After some epochs each query's good item is nearer than its bad one, and the embeddings are as they were."""
    draws = np.random.default_rng(0)
    examples = [_example(draws) for _ in range(8)]
    settings = EncoderTraining(learning_rate=3e-3, queries_per_step=4, epochs=30, warm_up_steps=2)
    trained = train_encoder(tiny_base_model, examples, settings, tmp_path / "work", lambda *_: None)
    base = BertModel.from_pretrained(tiny_base_model)
    assert _margin(trained, examples) > max(_margin(base, examples), 0) + 0.1
    assert torch.equal(trained.embeddings.word_embeddings.weight, base.embeddings.word_embeddings.weight)


def _example(draws: np.random.Generator) -> EncoderExample:
    query, good, bad, mined = (draws.integers(5, 60, draws.integers(3, 7)) for _ in range(4))
    items = TokenRows.from_rows([good, bad, mined])
    return EncoderExample(TokenRows.from_rows([query]), items, np.array([1.0, 0.0, np.nan], np.float32))


def _margin(bert: BertModel, examples: list[EncoderExample]) -> float:
    """Return by how much good items are nearer than bad ones, in the mean."""
    graph = EncoderGraph(bert.eval())
    margins = []
    with torch.no_grad():
        for example in examples:
            rows = [example.query.row(0), example.items.row(0), example.items.row(1)]
            ids = [torch.from_numpy(row.astype(np.int64))[None] for row in rows]
            query, good, bad = (graph(one, torch.ones_like(one))[0] for one in ids)
            margins.append(float(query @ good - query @ bad))
    return float(np.mean(margins))
