"""The cross-encoder: a BERT that reads a user beside an item, fine-tuned on what users went on to buy.

Trained with transformers' Trainer, in this process or in several ones that torchrun starts; see
`pipeline.learning.training_loop.run`. The lists lie in a file, so that there may be more of them than memory holds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.errors import InvalidRequest
from pipeline.file_lock import locked
from pipeline.learning.examples.ranking_lists import RankingExample, write_lists
from pipeline.learning.training_loop.job import CURVE, JOB, MODEL, TRAIN, VALID, Job
from pipeline.learning.training_loop.torchrun import run_in_processes
from pipeline.measurement.metrics.learning_curve import LearningCurve

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification

    from pipeline.learning.training_loop.trainer import OnStep
from pipeline.release.config.training_settings import CrossEncoderTraining

_CHECKPOINT_STEPS: Final = 50


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
    from pipeline.learning.training_loop.run import load_trained, run_training  # noqa: PLC0415

    work.mkdir(parents=True, exist_ok=True)
    with locked(work.with_name(f".{work.name}.lock"), lambda: None):
        write_job(base_model, examples, settings, work, valid, checkpoint_steps)
        if not (work / MODEL).is_dir():
            if settings.processes == 1:
                run_training(work, on_step)
            else:
                run_in_processes(work, settings.processes, on_step)
        return load_trained(work / MODEL)


def learning_curve(work: Path) -> LearningCurve:
    """Return how the training in ``work`` went."""
    return LearningCurve.model_validate_json((work / CURVE).read_bytes())


def write_job(
    base_model: Path,
    examples: Iterable[RankingExample],
    settings: CrossEncoderTraining,
    work: Path,
    valid: Iterable[RankingExample],
    checkpoint_steps: int,
) -> None:
    """Write a training's job and lists into ``work``, and remove the files of any other training there."""
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
