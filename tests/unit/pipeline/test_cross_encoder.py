"""Fine-tuning the cross-encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from pipeline.train.cross_encoder import CrossEncoderTraining, RankingExample, train_cross_encoder
from services.ranking.pairs import PairTemplate, TokenRows

WORDS = ("milk", "cheese", "bread", "soap")


@pytest.fixture(scope="module")
def examples(tiny_base_model: Path) -> list[RankingExample]:
    """Return examples in which everybody buys the same item, whatever the context."""
    tokenizer = Tokenizer.from_file(str(tiny_base_model / "tokenizer.json"))
    template = PairTemplate.of(tokenizer)
    items = TokenRows.of([tokenizer.encode(word, add_special_tokens=False).ids for word in WORDS])
    made = []
    for number in range(128):
        pairs = template.join(items, np.full(len(WORDS), number % len(WORDS)), items)
        made.append(RankingExample(pairs, np.array([0, 1, 0, 0], np.float32)))
    return made


def _train(base: Path, examples: list[RankingExample], work: Path, seed: int = 1):
    reports: list[tuple[int, int, float]] = []
    settings = CrossEncoderTraining(layers=2, learning_rate=3e-3, head_learning_rate=1e-2, epochs=4, seed=seed)
    model = train_cross_encoder(base, examples, settings, work, lambda *report: reports.append(report))
    return model, reports


def test_learns_which_item_is_bought(tiny_base_model: Path, examples: list[RankingExample], tmp_path: Path):
    """The loss falls to less than half, and progress is told to the last step."""
    model, reports = _train(tiny_base_model, examples, tmp_path)
    assert reports[-1][0] == reports[-1][1] == 64
    assert reports[-1][2] < 0.5 * next(loss for _, _, loss in reports if loss == loss)  # noqa: PLR0124 - not NaN
    assert not model.training


def test_same_seed_gives_the_same_weights(tiny_base_model: Path, examples: list[RankingExample], tmp_path: Path):
    """Training is repeatable to the last bit."""
    first, _ = _train(tiny_base_model, examples, tmp_path / "a")
    second, _ = _train(tiny_base_model, examples, tmp_path / "b")
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
