"""Fine-tuning of every BERT: transformers' Trainer, in one process or in those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from common.errors import InvalidRequest

_COMPLETE: Final = "complete"
_POINTS: Final = 40  # at least, of the loss curve
_SLOWEST_LOG: Final = 10
# Called with steps done, total steps, and the recent loss.
OnStep = Callable[[int, int, float], None]


@dataclass(frozen=True)
class TrainingSchedule:
    """Batch size, passes and learning-rate schedule.

    Attributes:
        examples_per_step: Examples of a step, over all processes.
        epochs: Passes over the examples.
        seed: Seed of the order.
        warm_up_steps: Steps of linear warm-up; afterwards the rates fall linearly to 0.
        checkpoint_steps: Number of steps between checkpoints.
    """

    examples_per_step: int
    epochs: int
    seed: int
    warm_up_steps: int = 10
    checkpoint_steps: int = 50


def fit(
    model: nn.Module,
    examples: Sequence[Any],
    collate: Callable[[Sequence[Any]], dict[str, Any]],
    optimizer: torch.optim.Optimizer,
    schedule: TrainingSchedule,
    work: Path,
    on_step: OnStep,
    callbacks: Sequence[TrainerCallback] = (),
) -> Sequence[Mapping[str, Any]]:
    """Train a model that returns its loss; goes on from the last whole checkpoint in ``work`` where there is one.

    Args:
        model: Given what ``collate`` makes, returns a dictionary with `loss`.
        examples: What to learn from; read one by one.
        collate: Makes a batch of examples.
        optimizer: Over the parameters to train.
        schedule: How much at a time.
        work: Folder for checkpoints.
        on_step: Told of every step.
        callbacks: What else happens on the way.

    Returns:
        The trainer's log, what came before a kill included: by entry `step`, and what there was to tell.

    Raises:
        InvalidRequest: A step's examples cannot be shared evenly by the processes.
    """
    trainer = Trainer(
        model=model,
        args=_arguments(schedule, work, len(examples)),
        train_dataset=examples,
        data_collator=collate,
        callbacks=[*callbacks, _Report(on_step), _Seal(work)],
        optimizers=(optimizer, None),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_whole(work))
    model.eval()
    return list(trainer.state.log_history)


def is_first_process() -> bool:
    """Tell whether this is the process that writes, and tells of progress."""
    return os.environ.get("RANK", "0") == "0"


class _Report(TrainerCallback):
    """Tells the caller how far the training is; the first process alone does."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002 - the hook's signature
        """Report a step."""
        if is_first_process():
            losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
            self._on_step(state.global_step, state.max_steps, losses[-1] if losses else float("nan"))


class _Seal(TrainerCallback):
    """Marks a checkpoint as whole once every process has written its part: a kill may come while they do."""

    def __init__(self, work: Path) -> None:
        self._work = work

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002 - the hook's signature
        """Mark the checkpoint just written."""
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if is_first_process():
            (self._work / f"checkpoint-{state.global_step}" / _COMPLETE).touch()


def _last_whole(work: Path) -> str | None:
    """Return the latest checkpoint that was written to its end, None if there is none."""
    whole = [file.parent for file in work.glob(f"checkpoint-*/{_COMPLETE}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def _arguments(schedule: TrainingSchedule, work: Path, examples: int) -> TrainingArguments:
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # set by torchrun
    if schedule.examples_per_step % processes:
        raise InvalidRequest(f"{processes} processes cannot share {schedule.examples_per_step} examples a step evenly")
    steps = examples // schedule.examples_per_step * schedule.epochs
    arguments = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=schedule.examples_per_step // processes,
        # A last, smaller step would be shared unevenly. Other epochs leave other examples out.
        dataloader_drop_last=examples >= schedule.examples_per_step,
        num_train_epochs=schedule.epochs,
        lr_scheduler_type="linear",
        warmup_steps=schedule.warm_up_steps,
        weight_decay=0.01,
        max_grad_norm=1.0,
        logging_steps=min(max(steps // _POINTS, 1), _SLOWEST_LOG),
        save_steps=schedule.checkpoint_steps,
        save_total_limit=2,  # keeps the previous checkpoint until the last one is complete
        seed=schedule.seed,
        data_seed=schedule.seed,
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
