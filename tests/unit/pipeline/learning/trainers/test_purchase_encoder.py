"""Fine-tuning the encoder on purchases."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from common.ragged import TokenRows
from pipeline.learning.examples.purchases import PurchaseExample
from pipeline.learning.trainers.bi_encoder import SCALE
from pipeline.learning.trainers.purchase_encoder import Collate, PurchaseLoss, train_on_purchases
from pipeline.release.config.training_settings import EncoderTraining
from pipeline.release.models.bert_graph import EncoderGraph


@pytest.fixture
def texts() -> TokenRows:
    draws = np.random.default_rng(0)
    return TokenRows.from_rows([draws.integers(5, 60, draws.integers(3, 7)) for _ in range(12)])


def _example(context: list[int], items: list[int], taken: set[int]) -> PurchaseExample:
    weights = np.full(len(context), 1 / len(context), np.float32)
    return PurchaseExample(np.array(context), weights, None, np.array(items), frozenset(taken))


def _vectors(bert: BertModel, texts: TokenRows) -> np.ndarray:
    graph = EncoderGraph(bert.eval())
    with torch.no_grad():
        ids = (torch.from_numpy(row.astype(np.int64))[None] for row in texts)
        return np.concatenate([graph(one, torch.ones_like(one)).numpy() for one in ids])


def test_the_loss_is_that_of_served_vectors_without_what_was_taken(tiny_base_model: Path, texts: TokenRows):
    """By hand: a user is the weighted mean of texts, or the query; others' targets that were taken don't count."""
    bert = BertModel.from_pretrained(tiny_base_model)
    query = np.array([5, 9, 6], np.int32)
    examples = [
        PurchaseExample(
            np.array([0, 1]), np.array([0.75, 0.25], np.float32), None, np.array([2, 3]), frozenset({0, 1, 2, 4})
        ),
        PurchaseExample(np.array([], np.int64), np.array([], np.float32), query, np.array([4, 5]), frozenset({4})),
    ]
    loss = PurchaseLoss(bert).eval()
    with torch.no_grad():
        got = float(loss(**Collate(texts)(examples))["loss"])
    vectors = _vectors(bert, texts)
    user = 0.75 * vectors[0] + 0.25 * vectors[1]
    searched = _vectors(bert, TokenRows.from_rows([query]))[0]
    shares = []
    for vector, target, seen in ((user / np.linalg.norm(user), 2, (2, 3, 5)), (searched, 4, (2, 3, 4, 5))):
        odds = {text: math.exp(SCALE * float(vector @ vectors[text])) for text in seen}
        shares.append(odds[target] / sum(odds.values()))
    assert got == pytest.approx(-sum(map(math.log, shares)) / 2, abs=1e-4)


def test_training_draws_users_to_what_they_take_next(tiny_base_model: Path, texts: TokenRows, tmp_path: Path):
    """After some epochs each user is nearer to the target than to the mined item; the embeddings are as they were."""
    examples = [_example([at, at + 1], [at + 6, 11], {at, at + 1, at + 6}) for at in range(5)]
    settings = EncoderTraining(learning_rate=3e-3, queries_per_step=5, epochs=40, warm_up_steps=2)
    trained = train_on_purchases(tiny_base_model, examples, texts, settings, tmp_path / "work", lambda *_: None)
    base = BertModel.from_pretrained(tiny_base_model)
    assert _margin(trained, examples, texts) > max(_margin(base, examples, texts), 0) + 0.1
    assert torch.equal(trained.embeddings.word_embeddings.weight, base.embeddings.word_embeddings.weight)


def _margin(bert: BertModel, examples: list[PurchaseExample], texts: TokenRows) -> float:
    vectors = _vectors(bert, texts)
    margins = []
    for example in examples:
        user = example.weights @ vectors[example.context]
        good, bad = vectors[example.items]
        margins.append(float(user @ (good - bad) / np.linalg.norm(user)))
    return float(np.mean(margins))
