"""How every BERT here is fine-tuned: transformers' Trainer, on one process or on those that torchrun started."""

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


_POINTS: Final = 40  # of the loss, at least, where there are so many steps


_SLOWEST_LOG: Final = 10


# Told steps done, steps in all, and the recent loss.
OnStep = Callable[[int, int, float], None]


@dataclass(frozen=True)
class TrainingSchedule:
    """How much is learnt at a time.

    Attributes:
        examples_per_step: Examples a step, over all processes.
        epochs: Passes over the examples.
        seed: Of the order.
        warm_up_steps: Steps until the rates are reached, from which they fall linearly to 0.
        checkpoint_steps: After how many steps a checkpoint is written.
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
    pace: TrainingSchedule,
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
        pace: How much at a time.
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
        args=_arguments(pace, work, len(examples)),
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
    """Return the latest checkpoint that was written to its end, None where there is none."""
    whole = [file.parent for file in work.glob(f"checkpoint-*/{_COMPLETE}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def _arguments(pace: TrainingSchedule, work: Path, examples: int) -> TrainingArguments:
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun says
    if pace.examples_per_step % processes:
        raise InvalidRequest(f"{processes} processes cannot share {pace.examples_per_step} examples a step evenly")
    steps = examples // pace.examples_per_step * pace.epochs
    arguments = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=pace.examples_per_step // processes,
        # A last, smaller step would be shared unevenly. Other epochs leave other examples out.
        dataloader_drop_last=examples >= pace.examples_per_step,
        num_train_epochs=pace.epochs,
        lr_scheduler_type="linear",
        warmup_steps=pace.warm_up_steps,
        weight_decay=0.01,
        max_grad_norm=1.0,
        logging_steps=min(max(steps // _POINTS, 1), _SLOWEST_LOG),
        save_steps=pace.checkpoint_steps,
        save_total_limit=2,  # the one before stands until the last is whole
        seed=pace.seed,
        data_seed=pace.seed,
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
