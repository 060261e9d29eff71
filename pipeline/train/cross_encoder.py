"""The cross-encoder: a BERT that reads a person beside an item, fine-tuned on what people went on to buy.

Trained with transformers' Trainer, in this process or in several ones that torchrun starts; see
`pipeline.train.training_run`. The lists lie in a file, so that there may be more of them than memory holds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.errors import InvalidRequest
from pipeline.file_lock import locked
from pipeline.train.job import CURVE, JOB, MODEL, TRAIN, VALID, Job
from pipeline.train.learning_curve import LearningCurve
from pipeline.train.processes import run_in_processes
from pipeline.train.ranking_lists import RankingExample, write_lists

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification

    from pipeline.train.trainer import OnStep

_CHECKPOINT_STEPS: Final = 50


@dataclass(frozen=True)
class CrossEncoderTraining:
    """How the cross-encoder is fine-tuned.

    Attributes:
        layers: How many of the base model's layers it keeps, the lowest; fewer are faster.
        learning_rate: Of the layers; falls linearly to 0 after a warm-up of ten steps.
        head_learning_rate: Of the pooler and the classifier, which are new or never trained.
        requests_per_step: Examples a step, over all processes.
        epochs: Passes over the examples.
        seed: Of initialisation and order.
        processes: How many processes share each step, one a GPU where there are some. Sums in another order make
            weights that differ in their last digits, so it is part of what makes a release.
    """

    layers: int = 3
    learning_rate: float = 3e-4
    head_learning_rate: float = 1e-3
    requests_per_step: int = 8
    epochs: int = 1
    seed: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if self.processes < 1 or self.requests_per_step % self.processes:
            raise InvalidRequest(
                f"{self.processes} processes cannot share {self.requests_per_step} requests a step evenly; "
                "choose a number of processes that divides requests_per_step"
            )


def train_cross_encoder(
    base_model: Path,
    examples: Iterable[RankingExample],
    settings: CrossEncoderTraining,
    work: Path,
    on_step: OnStep,
    *,
    valid: Iterable[RankingExample] = (),
    checkpoint_steps: int = _CHECKPOINT_STEPS,
) -> BertForSequenceClassification:
    """Fine-tune a copy of the base model; goes on from the last checkpoint of the same training in ``work``.

    Args:
        base_model: Folder with the base model's configuration and weights.
        examples: What to learn from; read once, a few at a time.
        settings: How.
        work: Folder for the training; `learning_curve` reads there how it went. One training at a time works in it.
        on_step: Told steps done, steps in all, and the recent loss.
        valid: What to measure it on meanwhile.
        checkpoint_steps: After how many steps a checkpoint is written.

    Raises:
        InvalidRequest: There are no examples.
        RuntimeError: A process of several failed; the message has the end of its log.
    """
    # The settings above are part of the command line, which must not wait for torch.
    from pipeline.train.training_run import load_trained, run_training  # noqa: PLC0415

    work.mkdir(parents=True, exist_ok=True)
    with locked(work.with_name(f".{work.name}.lock"), lambda: None):
        _write_job(base_model, examples, settings, work, valid, checkpoint_steps)
        if not (work / MODEL).is_dir():
            if settings.processes == 1:
                run_training(work, on_step)
            else:
                run_in_processes(work, settings.processes, on_step)
        return load_trained(work / MODEL)


def learning_curve(work: Path) -> LearningCurve:
    """Return how the training in ``work`` went."""
    return LearningCurve.model_validate_json((work / CURVE).read_bytes())


def _write_job(
    base_model: Path,
    examples: Iterable[RankingExample],
    settings: CrossEncoderTraining,
    work: Path,
    valid: Iterable[RankingExample],
    checkpoint_steps: int,
) -> None:
    """Write what is to be trained; what is left of another training in the folder is removed."""
    if not write_lists(work / TRAIN, examples):
        raise InvalidRequest("there is no list to learn from")
    write_lists(work / VALID, valid)
    hashes = (_sha256(work / TRAIN), _sha256(work / VALID))
    given = dataclasses.asdict(settings)
    del given["processes"]  # others may go on where these end
    job = Job(base_model=str(base_model), checkpoint_steps=checkpoint_steps, lists=hashes, **given)
    described = job.model_dump_json()
    file = work / JOB
    if file.exists() and file.read_text() != described:
        for left in [*work.glob("checkpoint-*"), work / MODEL]:
            shutil.rmtree(left, ignore_errors=True)
    file.write_text(described)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
