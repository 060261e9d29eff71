"""A process of a cross-encoder's training; its folder is described in `job`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertForSequenceClassification, set_seed
from transformers.utils import logging as transformers_logging

from pipeline.learning.examples.ranking_lists import ListFile, RankingExample
from pipeline.learning.training_loop.job import CURVE, JOB, MODEL, TRAIN, VALID, Job
from pipeline.learning.training_loop.list_loss import ListLoss
from pipeline.learning.training_loop.trainer import OnStep, TrainingSchedule, fit, is_first_process
from pipeline.learning.training_loop.validation import Validation
from pipeline.measurement.metrics.learning_curve import LearningCurve
from pipeline.release.models.model_folder import load_model
from services.ranking.pairs.pair_tokens import ModelInputs


def run_training(folder: Path, on_step: OnStep) -> None:
    """Train from the last complete checkpoint in ``folder``, if there is one; the first process writes the model.

    Args:
        folder: The job's folder.
        on_step: Called with steps done, total steps, and the recent loss.

    Raises:
        InvalidRequest: The processes cannot divide the lists of a step evenly.
    """
    job = Job.model_validate_json((folder / JOB).read_bytes())
    set_seed(job.seed)
    model = load_base(Path(job.base_model), job.layers)
    lists, valid = ListFile(folder / TRAIN), ListFile(folder / VALID)
    loss = ListLoss(model)
    schedule = TrainingSchedule(job.requests_per_step, job.epochs, job.seed, job.warm_up_steps, job.checkpoint_steps)
    validation = Validation(loss, valid, collate)
    history = fit(loss, lists, collate, _optimizer(model, job), schedule, folder, on_step, [validation])
    if is_first_process():
        _finish(folder, model, LearningCurve.from_history(history))


def load_base(base_model: Path, layers: int) -> BertForSequenceClassification:
    """Load the lowest ``layers`` of a base model with a fresh head of one logit."""
    with quiet_loading():
        model: BertForSequenceClassification = load_model(
            BertForSequenceClassification, base_model, num_labels=1, num_hidden_layers=layers
        )
    return model


def load_trained(folder: Path) -> BertForSequenceClassification:
    """Load a trained model."""
    with quiet_loading():
        model: BertForSequenceClassification = load_model(BertForSequenceClassification, folder)
    model.eval()
    return model


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence warnings while part of a model is loaded: the new head and the dropped layers are intended."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def collate(examples: Sequence[RankingExample]) -> dict[str, Tensor]:
    """Pad the pairs of several examples into one batch: int64 [pairs, L], labels float32 [pairs], sizes [examples]."""
    sizes = [len(example.pairs) for example in examples]
    inputs = ModelInputs.from_pairs(*(example.pairs for example in examples))
    return {
        "input_ids": torch.from_numpy(inputs.input_ids),
        "attention_mask": torch.from_numpy(inputs.attention_mask),
        "token_type_ids": torch.from_numpy(inputs.token_type_ids),
        "labels": torch.from_numpy(np.concatenate([example.labels for example in examples])),
        "sizes": torch.tensor(sizes),
    }


def _finish(folder: Path, model: BertForSequenceClassification, curve: LearningCurve) -> None:
    """Write curve and model; the model is renamed into place, since its presence marks the job as done."""
    (folder / CURVE).write_text(curve.model_dump_json())
    unfinished = folder / f"{MODEL}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished)
    unfinished.rename(folder / MODEL)


def _optimizer(model: BertForSequenceClassification, job: Job) -> torch.optim.Optimizer:
    """Train layers and head at their own rates; the embeddings stay: most words are too rare to train."""
    model.bert.embeddings.requires_grad_(requires_grad=False)
    # In the last layer only [CLS] has a query, so the key bias shifts all its scores equally: it has no effect.
    last: Any = model.bert.encoder.layer[-1]
    last.attention.self.key.bias.requires_grad_(requires_grad=False)
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
