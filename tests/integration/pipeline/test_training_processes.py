"""Training in several processes, and training that is killed, compared with one undisturbed process."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

from common.ragged import TokenRows
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.trainers.cross_encoder import learning_curve, train_cross_encoder, write_job
from pipeline.measurement.metrics.learning_curve import LearningCurve
from pipeline.release.config.training_settings import CrossEncoderTraining
from services.ranking.pairs.pair_tokens import PairTemplate
from testing.tiny_shop import KINDS, SHELVES

SETTINGS = CrossEncoderTraining(layers=2, learning_rate=3e-3, requests_per_step=4, epochs=3, seed=3)


@pytest.fixture(scope="module")
def examples(tiny_base_model: Path) -> list[RankingExample]:
    """Return lists of two to five words, long and short in turn, of which a rule marks one as bought."""
    tokenizer = Tokenizer.from_file(str(tiny_base_model / "tokenizer.json"))
    words = [word for shelf in SHELVES.values() for word in shelf]
    rows = TokenRows.from_rows([tokenizer.encode(word, add_special_tokens=False).ids for word in (*words, *KINDS)])
    template, generator, made = PairTemplate.from_tokenizer(tokenizer), np.random.default_rng(2), []
    for number in range(102):  # no multiple of a step
        items = generator.permutation(len(words))[: 2 + number % 4]
        contexts = np.full(len(items), len(words) + number % len(KINDS))
        labels = (items == items.min()).astype(np.float32)
        made.append(RankingExample(template.join(rows, contexts, rows.take(items)), labels))
    return made


class Trained:
    """A finished training."""

    def __init__(self, base: Path, examples: Sequence[RankingExample], work: Path, **settings: int) -> None:
        self.steps: list[int] = []
        self.model: BertForSequenceClassification = train_cross_encoder(
            base,
            examples[12:],
            dataclasses.replace(SETTINGS, **settings),
            work,
            lambda done, _total, _loss: self.steps.append(done),
            valid=examples[:11],
            checkpoint_steps=5,
        )
        self.curve: LearningCurve = learning_curve(work)

    def differs_by(self, other: Trained) -> float:
        """Return the largest difference between weights."""
        theirs = other.model.state_dict()
        return max(float((value - theirs[name]).abs().max()) for name, value in self.model.state_dict().items())


@pytest.fixture(scope="module")
def undisturbed(
    tiny_base_model: Path, examples: list[RankingExample], tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return Trained(tiny_base_model, examples, tmp_path_factory.mktemp("undisturbed"))


def test_two_processes_train_what_one_does(
    tiny_base_model: Path, examples: list[RankingExample], undisturbed: Trained, tmp_path: Path
):
    """Two gloo processes reach the weights and curves of one, up to the order of sums."""
    both = Trained(tiny_base_model, examples, tmp_path, processes=2)
    assert both.steps == undisturbed.steps == list(range(1, 67))
    assert both.differs_by(undisturbed) < 1e-3
    assert undisturbed.curve.valid_loss[-1][1] < 0.9 * undisturbed.curve.valid_loss[0][1]
    for name in ("loss", "valid_loss", "valid_ndcg"):
        np.testing.assert_allclose(getattr(both.curve, name), getattr(undisturbed.curve, name), atol=2e-3)


@pytest.fixture(scope="module")
def killed(
    tiny_base_model: Path, examples: list[RankingExample], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], Path]:
    """Return a function that copies a training killed by `kill -9` after its first checkpoint."""
    work = tmp_path_factory.mktemp("killed")
    write_job(tiny_base_model, examples[12:], SETTINGS, work, examples[:11], 5)
    command = [sys.executable, "-m", "pipeline.learning.training_loop", str(work)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # as here: another number of threads sums in another order
    with subprocess.Popen(command, env=one_thread) as process:  # noqa: S603 - our own interpreter and module
        _await(work / "checkpoint-5/complete")
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (work / "model").exists()
    return lambda to: shutil.copytree(work, to, dirs_exist_ok=True)


def test_a_killed_training_goes_on_from_its_checkpoint(
    tiny_base_model: Path,
    examples: list[RankingExample],
    undisturbed: Trained,
    killed: Callable[[Path], Path],
    tmp_path: Path,
):
    """After `kill -9` the training continues with the remaining steps, to the same weights and curves."""
    again = Trained(tiny_base_model, examples, killed(tmp_path))
    assert 5 < again.steps[0] < again.steps[-1] == 66
    assert again.differs_by(undisturbed) == 0.0
    assert again.curve == undisturbed.curve


def test_a_checkpoint_cut_short_is_not_gone_on_from(
    tiny_base_model: Path,
    examples: list[RankingExample],
    undisturbed: Trained,
    killed: Callable[[Path], Path],
    tmp_path: Path,
):
    """A checkpoint that was half written is skipped for the one before."""
    torn = killed(tmp_path) / "checkpoint-60"
    shutil.copytree(tmp_path / "checkpoint-5", torn, dirs_exist_ok=True)
    (torn / "complete").unlink()
    (torn / "optimizer.pt").write_bytes(b"half")
    again = Trained(tiny_base_model, examples, tmp_path)
    assert 5 < again.steps[0] < 60
    assert again.differs_by(undisturbed) == 0.0


def _await(file: Path) -> None:
    ends = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < ends
        time.sleep(0.002)
