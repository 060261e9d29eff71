"""One training of a cross-encoder, as each of its processes runs it.

A folder holds all of it: `job.json` with the settings, the lists, checkpoints, and in the end the model and its
learning curve. So the processes need nothing from the one that started them, and after a kill any other run goes on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from transformers import (
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from common.errors import InvalidRequest
from pipeline.train.learning_curve import LearningCurve
from pipeline.train.list_loss import ListLoss
from pipeline.train.ranking_lists import ListFile, RankingExample
from pipeline.train.validation import Validation
from services.ranking.pairs import ModelInputs

JOB: Final = "job.json"
TRAIN: Final = "train.arrow"
VALID: Final = "valid.arrow"
MODEL: Final = "model"
CURVE: Final = "curve.json"
_COMPLETE: Final = "complete"
_POINTS: Final = 40  # of the loss, at least, where there are so many steps
_SLOWEST_LOG: Final = 10

OnStep = Callable[[int, int, float], None]


class Job(BaseModel):
    """What is trained.

    Attributes:
        base_model: Folder with the base model's configuration and weights.
        layers, learning_rate, head_learning_rate, requests_per_step, epochs, seed: See `CrossEncoderTraining`.
        checkpoint_steps: After how many steps a checkpoint is written.
        lists: SHA-256 of the lists, those learned from and those of validation: others make another job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_model: str
    layers: int
    learning_rate: float
    head_learning_rate: float
    requests_per_step: int
    epochs: int
    seed: int
    checkpoint_steps: int
    lists: tuple[str, str]


def run_training(folder: Path, on_step: OnStep) -> None:
    """Train, from the last whole checkpoint in ``folder`` where there is one; the first process writes the model.

    Args:
        folder: The job's.
        on_step: Told steps done, steps in all, and the recent loss.

    Raises:
        InvalidRequest: A step's lists cannot be shared evenly by the processes.
    """
    job = Job.model_validate_json((folder / JOB).read_bytes())
    set_seed(job.seed)
    model = load_base(Path(job.base_model), job.layers)
    lists, valid = ListFile(folder / TRAIN), ListFile(folder / VALID)
    loss = ListLoss(model)
    trainer = Trainer(
        model=loss,
        args=_arguments(job, folder, len(lists)),
        train_dataset=lists,
        data_collator=collate,
        callbacks=[Validation(loss, valid, collate), _Report(on_step), _Seal(folder)],
        optimizers=(_optimizer(model, job), None),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_whole(folder))
    if trainer.is_world_process_zero():
        _finish(folder, model, LearningCurve.of(trainer.state.log_history))


def load_base(base_model: Path, layers: int) -> BertForSequenceClassification:
    """Load the lowest ``layers`` of a base model with a fresh head of one logit."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # the head is new by intent, the dropped layers too
    transformers_logging.disable_progress_bar()
    try:
        model: BertForSequenceClassification = BertForSequenceClassification.from_pretrained(
            base_model, num_labels=1, num_hidden_layers=layers
        )
        return model
    finally:
        transformers_logging.set_verbosity(verbosity)


def collate(examples: Sequence[RankingExample]) -> dict[str, Tensor]:
    """Pad the pairs of several examples into one batch: int64 [pairs, L], labels float32 [pairs], sizes [examples]."""
    sizes = [len(example.pairs) for example in examples]
    inputs = ModelInputs.empty(sum(sizes), max(int(example.pairs.lengths.max()) for example in examples))
    first = 0
    for example, size in zip(examples, sizes, strict=True):
        inputs.fill(first, example.pairs, np.arange(size))
        first += size
    return {
        "input_ids": torch.from_numpy(inputs.input_ids),
        "attention_mask": torch.from_numpy(inputs.attention_mask),
        "token_type_ids": torch.from_numpy(inputs.token_type_ids),
        "labels": torch.from_numpy(np.concatenate([example.labels for example in examples])),
        "sizes": torch.tensor(sizes),
    }


class _Report(TrainerCallback):
    """Tells the caller how far the training is; the first process alone does."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002 - the library's signature
        """Report a step."""
        if state.is_world_process_zero:
            losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
            self._on_step(state.global_step, state.max_steps, losses[-1] if losses else float("nan"))


class _Seal(TrainerCallback):
    """Marks a checkpoint as whole once every process has written its part: a kill may come while they do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002 - the library's signature
        """Mark the checkpoint just written."""
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            (self._folder / f"checkpoint-{state.global_step}" / _COMPLETE).touch()


def _last_whole(folder: Path) -> str | None:
    """Return the latest checkpoint that was written to its end, None where there is none."""
    whole = [file.parent for file in folder.glob(f"checkpoint-*/{_COMPLETE}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def _finish(folder: Path, model: BertForSequenceClassification, curve: LearningCurve) -> None:
    """Write curve and model; the model appears whole, since its presence says that the job is done."""
    (folder / CURVE).write_text(curve.model_dump_json())
    unfinished = folder / f"{MODEL}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished)
    unfinished.rename(folder / MODEL)


def _arguments(job: Job, folder: Path, lists: int) -> TrainingArguments:
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun says
    if job.requests_per_step % processes:
        raise InvalidRequest(f"{processes} processes cannot share requests_per_step {job.requests_per_step} evenly")
    steps = lists // job.requests_per_step * job.epochs
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=job.requests_per_step // processes,
        # A last, smaller step would be shared unevenly. Other epochs leave other lists out.
        dataloader_drop_last=lists >= job.requests_per_step,
        num_train_epochs=job.epochs,
        lr_scheduler_type="linear",
        warmup_steps=10,
        weight_decay=0.01,
        max_grad_norm=1.0,
        logging_steps=min(max(steps // _POINTS, 1), _SLOWEST_LOG),
        save_steps=job.checkpoint_steps,
        save_total_limit=2,  # the one before stands until the last is whole
        seed=job.seed,
        data_seed=job.seed,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        use_cpu=not torch.cuda.is_available(),
    )
    # One process would else split a batch over all GPUs, and the lists' sizes apart from their pairs.
    arguments._n_gpu = min(arguments.n_gpu, 1)  # noqa: SLF001 - there is no public way
    return arguments


def _optimizer(model: BertForSequenceClassification, job: Job) -> torch.optim.Optimizer:
    """Train layers and head at their own rates; the embeddings stay: most words are too rare to move them."""
    model.bert.embeddings.requires_grad_(requires_grad=False)
    groups = [
        {"params": list(model.bert.encoder.parameters()), "lr": job.learning_rate},
        {"params": _head(model), "lr": job.head_learning_rate},
    ]
    return torch.optim.AdamW(groups)


def _head(model: BertForSequenceClassification) -> list[nn.Parameter]:
    """Return the parameters of pooler and classifier."""
    pooler = model.bert.pooler
    if pooler is None:
        raise ValueError("the base model has no pooler, which the cross-encoder's logit needs")
    return [*pooler.parameters(), *model.classifier.parameters()]
