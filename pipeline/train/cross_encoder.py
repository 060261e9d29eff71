"""The cross-encoder: a BERT that reads a person beside an item, fine-tuned on what people went on to buy.

Trained with transformers' Trainer, so that several processes (torchrun) and resuming after a kill come with it. The
loss is binary cross-entropy, which makes the logit a log-odds of purchase, plus a listwise term over each request's
candidates (ListNet's top-1 likelihood; Cao et al., ICML 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
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

from pipeline.bert_graph import CrossEncoderGraph
from services.ranking.pairs import ModelInputs, Pairs

_LISTWISE_SHARE: Final = 0.25


@dataclass(frozen=True)
class RankingExample:
    """One person and some candidates, at least one of which was bought.

    Attributes:
        pairs: The person context beside each candidate, in tokens.
        labels: float32 [pairs]; 1 where bought, or a graded relevance from 0 to 1.
    """

    pairs: Pairs
    labels: npt.NDArray[np.float32]


@dataclass(frozen=True)
class CrossEncoderTraining:
    """How the cross-encoder is fine-tuned.

    Attributes:
        layers: How many of the base model's layers it keeps, the lowest; fewer are faster.
        learning_rate: Of the layers; falls linearly to 0 after a warm-up of ten steps.
        head_learning_rate: Of the pooler and the classifier, which are new or never trained.
        requests_per_step: Examples a step.
        epochs: Passes over the examples.
        seed: Of initialisation and order.
    """

    layers: int = 3
    learning_rate: float = 3e-4
    head_learning_rate: float = 1e-3
    requests_per_step: int = 8
    epochs: int = 1
    seed: int = 0


def train_cross_encoder(
    base_model: Path,
    examples: Sequence[RankingExample],
    settings: CrossEncoderTraining,
    work: Path,
    on_step: Callable[[int, int, float], None],
) -> BertForSequenceClassification:
    """Fine-tune a copy of the base model; resumes from the last checkpoint in ``work`` where there is one.

    Args:
        base_model: Folder with the base model's configuration and weights.
        examples: What to learn from.
        settings: How.
        work: Folder for checkpoints.
        on_step: Told steps done, steps in all, and the recent loss.
    """
    set_seed(settings.seed)
    model = load_base(base_model, settings.layers)
    trainer = Trainer(
        model=_ListLoss(model),
        args=_arguments(settings, work),
        train_dataset=list(examples),
        data_collator=_collate,
        callbacks=[_Report(on_step)],
        optimizers=(_optimizer(model, settings), None),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=any(work.glob("checkpoint-*")))
    model.eval()
    return model


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


class _ListLoss(nn.Module):
    """The loss of a batch of lists; computes the exported graph itself: what is trained is what is served."""

    def __init__(self, model: BertForSequenceClassification) -> None:
        super().__init__()
        self.graph = CrossEncoderGraph(model)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, labels: Tensor, sizes: Tensor
    ) -> dict[str, Tensor]:
        logits = self.graph(input_ids, attention_mask, token_type_ids)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
        lists = list(zip(logits.split(sizes.tolist()), labels.split(sizes.tolist()), strict=True))
        listwise = sum(_listwise(*pair) for pair in lists) / len(lists)
        return {"loss": loss + _LISTWISE_SHARE * listwise, "logits": logits}


def _listwise(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy between the labels' shares and the logits' softmax."""
    return -(labels / labels.sum().clamp(min=1e-6) * logits.log_softmax(0)).sum()


class _Report(TrainerCallback):
    """Tells the caller how far the training is."""

    def __init__(self, on_step: Callable[[int, int, float], None]) -> None:
        self._on_step = on_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        """Report a step."""
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        self._on_step(state.global_step, state.max_steps, losses[-1] if losses else float("nan"))


def _arguments(settings: CrossEncoderTraining, work: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=settings.requests_per_step,
        num_train_epochs=settings.epochs,
        lr_scheduler_type="linear",
        warmup_steps=10,
        weight_decay=0.01,
        max_grad_norm=1.0,
        logging_steps=10,
        save_steps=200,
        save_total_limit=1,
        seed=settings.seed,
        data_seed=settings.seed,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        use_cpu=not torch.cuda.is_available(),
    )


def _optimizer(model: BertForSequenceClassification, settings: CrossEncoderTraining) -> torch.optim.Optimizer:
    """Train layers and head at their own rates; the embeddings stay: most words are too rare to move them."""
    model.bert.embeddings.requires_grad_(requires_grad=False)
    groups = [
        {"params": list(model.bert.encoder.parameters()), "lr": settings.learning_rate},
        {"params": _head(model), "lr": settings.head_learning_rate},
    ]
    return torch.optim.AdamW(groups)


def _head(model: BertForSequenceClassification) -> list[nn.Parameter]:
    """Return the parameters of pooler and classifier."""
    pooler = model.bert.pooler
    if pooler is None:
        raise ValueError("the base model has no pooler, which the cross-encoder's logit needs")
    return [*pooler.parameters(), *model.classifier.parameters()]


def _collate(examples: Sequence[RankingExample]) -> dict[str, Tensor]:
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
