"""Fine-tuning the cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from common.errors import InvalidRequest
from common.ragged import TokenRows
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.trainers.cross_encoder import learning_curve, train_cross_encoder
from pipeline.release.config.training_settings import CrossEncoderTraining
from services.ranking.pairs.pair_tokens import PairTemplate

WORDS = ("milk", "cheese", "bread", "soap")


@pytest.fixture(scope="module")
def examples(tiny_base_model: Path) -> list[RankingExample]:
    """Return examples in which everybody buys the same item, whatever the context."""
    tokenizer = Tokenizer.from_file(str(tiny_base_model / "tokenizer.json"))
    template = PairTemplate.from_tokenizer(tokenizer)
    items = TokenRows.from_rows([tokenizer.encode(word, add_special_tokens=False).ids for word in WORDS])
    made = []
    for number in range(128):
        pairs = template.join(items, np.full(len(WORDS), number % len(WORDS)), items)
        made.append(RankingExample(pairs, np.array([0, 1, 0, 0], np.float32)))
    return made


def _train(base: Path, examples: list[RankingExample], work: Path, valid: Sequence[RankingExample] = ()):
    reports: list[tuple[int, int, float]] = []
    settings = CrossEncoderTraining(layers=2, learning_rate=3e-3, head_learning_rate=1e-2, epochs=4, seed=1)
    model = train_cross_encoder(base, examples, settings, work, lambda *report: reports.append(report), valid=valid)
    return model, reports


def test_learns_which_item_is_bought(tiny_base_model: Path, examples: list[RankingExample], tmp_path: Path):
    """The loss falls to less than half, and progress is told to the last step."""
    model, reports = _train(tiny_base_model, examples, tmp_path)
    assert reports[-1][0] == reports[-1][1] == 64
    assert reports[-1][2] < 0.5 * next(loss for _, _, loss in reports if loss == loss)  # noqa: PLR0124 - not NaN
    assert not model.training


def test_learning_curve_tells_loss_and_validation_by_step(
    tiny_base_model: Path, examples: list[RankingExample], tmp_path: Path
):
    """The losses fall, and the order of validation lists gets better, from before the first step to the last."""
    _train(tiny_base_model, examples, tmp_path, valid=examples[:12])
    curve = learning_curve(tmp_path)
    assert [step for step, _ in curve.valid_loss] == [0, *range(8, 65, 8)] == [step for step, _ in curve.valid_ndcg]
    assert [step for step, _ in curve.loss] == list(range(1, 65))
    assert curve.valid_loss[-1][1] < 0.5 * curve.valid_loss[0][1]
    assert curve.valid_ndcg[0][1] < curve.valid_ndcg[-1][1] == 1.0


def test_a_training_that_was_done_is_not_done_again(
    tiny_base_model: Path, examples: list[RankingExample], tmp_path: Path
):
    """The same training in the same folder takes no step; one with other lists starts again."""
    first, _ = _train(tiny_base_model, examples, tmp_path)
    again, reports = _train(tiny_base_model, examples, tmp_path)
    assert reports == []
    assert _same(first, again)
    other, reports = _train(tiny_base_model, examples[:64], tmp_path)
    assert reports[0][:2] == (1, 32)
    assert not _same(first, other)


def test_a_training_without_lists_is_refused(tiny_base_model: Path, tmp_path: Path):
    """With nothing to learn from, that is said."""
    with pytest.raises(InvalidRequest, match="no training lists"):
        _train(tiny_base_model, [], tmp_path)


def test_processes_must_divide_a_step():
    """Processes that cannot share a step's requests evenly are refused at once."""
    with pytest.raises(InvalidRequest, match="requests_per_step"):
        CrossEncoderTraining(requests_per_step=8, processes=3)


def test_same_seed_gives_the_same_weights(tiny_base_model: Path, examples: list[RankingExample], tmp_path: Path):
    """Training is repeatable to the last bit."""
    first, _ = _train(tiny_base_model, examples, tmp_path / "a")
    second, _ = _train(tiny_base_model, examples, tmp_path / "b")
    assert _same(first, second)


def _same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
