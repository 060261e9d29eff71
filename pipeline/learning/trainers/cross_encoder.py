"""Fine-tunes the cross-encoder, a BERT over pairs of user context and item, on what users bought next.

It is trained with transformers' Trainer, in this process or in several processes that torchrun starts; see
`pipeline.learning.training_loop.run`. The lists are in a file, since there can be more of them than memory holds.
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
    """Fine-tune a copy of the base model; resumes from the last checkpoint of the same training in ``work``.

    Args:
        base_model: Folder with the base model's configuration and weights.
        examples: The training examples; read once, a few at a time.
        settings: The training settings.
        work: Folder of the training, which `learning_curve` reads. One training at a time uses it.
        on_step: Called with steps done, total steps, and the recent loss.
        valid: The validation lists.
        checkpoint_steps: Number of steps between checkpoints.

    Raises:
        InvalidRequest: There are no examples.
        RuntimeError: A process of several failed; the message has the end of its log.
    """
    # The command line imports this module, and must not wait for torch.
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
    """Return the learning curve of the training in ``work``."""
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
        raise InvalidRequest("there are no training lists")
    write_lists(work / VALID, valid)
    hashes = (_sha256(work / TRAIN), _sha256(work / VALID))
    fields = dataclasses.asdict(settings)
    del fields["processes"]  # a training can resume with another number of processes
    job = Job(base_model=str(base_model), checkpoint_steps=checkpoint_steps, lists=hashes, **fields)
    content = job.model_dump_json()
    file = work / JOB
    if file.exists() and file.read_text() != content:
        for leftover in [*work.glob("checkpoint-*"), work / MODEL]:
            shutil.rmtree(leftover, ignore_errors=True)
    file.write_text(content)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
