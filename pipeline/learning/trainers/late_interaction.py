"""Trains the late-interaction tower, one BERT for users and items, on labels and on the cross-encoder's logits.

The loss is the cross-encoder's own (binary cross-entropy, which makes the score a log-odds, and a listwise term), plus,
for pairs with a logit of the cross-encoder, the squared distance of the score to it. The logits should come from models
that did not learn from the pair (cross-fitting); otherwise they repeat the labels. Logits of the items with further
contexts are used likewise: each item is encoded once for all contexts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertModel, set_seed

from common.arrays import Float32Array
from common.ragged import TokenRows
from pipeline.learning.examples.late_interaction import LateExample
from pipeline.learning.training_loop.list_loss import LISTWISE_SHARE, listwise_loss
from pipeline.learning.training_loop.run import quiet_loading
from pipeline.learning.training_loop.trainer import OnStep, TrainingSchedule, fit
from pipeline.progress import ProgressStep
from pipeline.release.config.training_settings import LateTraining
from pipeline.release.models.late_interaction_tower import CONTEXT, ITEM, Encoded, LateTowerGraph, joint_scores
from pipeline.release.models.model_folder import load_model
from services.ranking.late_interaction.tower import padded
from services.ranking.pairs.pair_tokens import PairTemplate

# Groups of similar lengths in a step: less than a tenth is padding then, instead of half.
_GROUPS: Final = 4
_CENTRED_ON: Final = 16
_WEIGHTS: Final = "tower.safetensors"


def train_late_interaction(
    base_model: Path,
    examples: Sequence[LateExample],
    template: PairTemplate,
    settings: LateTraining,
    work: Path,
    on_step: OnStep,
) -> LateTowerGraph:
    """Train a tower on a copy of the base model; resumes from the last checkpoint in ``work`` if there is one.

    Args:
        base_model: Folder with the base model's configuration and weights.
        examples: The training examples.
        template: The special tokens.
        settings: The training settings.
        work: Folder for checkpoints.
        on_step: Called with steps done, total steps, and the recent loss.
    """
    set_seed(settings.seed)
    graph = new_tower(base_model, settings)
    schedule = TrainingSchedule(settings.requests_per_step, settings.epochs, settings.seed, warm_up_steps=50)
    collate, loss = _Collate(template), _LateLoss(graph, settings.distillation)
    _centre(loss, collate(examples[:_CENTRED_ON]))
    fit(loss, examples, collate, _optimizer(graph, settings), schedule, work, on_step)
    return graph


def new_tower(base_model: Path, settings: LateTraining) -> LateTowerGraph:
    """Return a tower on the lowest layers of a base model, its head new."""
    with quiet_loading():
        bert = load_model(BertModel, base_model, num_hidden_layers=settings.layers, add_pooling_layer=False)
    return LateTowerGraph(bert, settings.width)


def save_tower(graph: LateTowerGraph, folder: Path) -> None:
    """Write a tower's weights."""
    save_file(graph.state_dict(), folder / _WEIGHTS)


def load_tower(base_model: Path, settings: LateTraining, folder: Path) -> LateTowerGraph:
    """Load a tower that was trained on the same base model with the same settings."""
    graph = new_tower(base_model, settings)
    graph.load_state_dict(load_file(folder / _WEIGHTS))
    return graph.eval()


def late_scores(
    graph: LateTowerGraph, examples: Sequence[LateExample], template: PairTemplate, step: ProgressStep
) -> Float32Array:
    """Return a tower's scores of the candidates, concatenated by example; float32 [candidates]."""
    loss, collate, scores = _LateLoss(graph.eval(), distillation=0.0), _Collate(template), []
    with torch.inference_mode():
        for start in range(0, len(examples), _CENTRED_ON):
            part = examples[start : start + _CENTRED_ON]
            scores.append(loss(**collate(part))["scores"].numpy())
            step.advance(len(part))
    return np.concatenate(scores)


class _LateLoss(nn.Module):
    """The loss of a batch of lists."""

    def __init__(self, graph: LateTowerGraph, distillation: float) -> None:
        super().__init__()
        self.graph = graph
        self.distillation = distillation

    def forward(
        self, contexts: Tensor, items: Sequence[Tensor], order: Tensor, labels: Tensor, teacher: Tensor, sizes: Tensor
    ) -> dict[str, Tensor]:
        """Return the loss.

        Args:
            contexts: Each list's, the user's first; int32 [lists * contexts, L].
            items: Groups of the lists' items; int32 [n, L] each.
            order: Position of each item in the concatenated groups; [items].
            labels: float32 [items].
            teacher: float32 [items, contexts].
            sizes: Number of items of each list.
        """
        encoded = self.graph(contexts, contexts.new_full((len(contexts),), CONTEXT))
        owner = torch.repeat_interleave(sizes)
        scores = self._scores(encoded, items, owner[_inverse(order)], teacher.shape[1])[order]
        own, others = scores[:, 0], _distance(scores[:, 1:], teacher[:, 1:])
        loss = self._labelled(own, labels, sizes) + self.distillation * (_distance(own, teacher[:, 0]) + others)
        return {"loss": loss, "scores": own}

    def _scores(self, contexts: Encoded, groups: Sequence[Tensor], owner: Tensor, each: int) -> Tensor:
        """Return the scores of the groups' items with each context of their list; float [items, each]."""
        scores = []
        for ids, context_of in zip(groups, owner.split([len(group) for group in groups]), strict=True):
            items = self.graph(ids, ids.new_full((len(ids),), ITEM))
            by_context = [joint_scores(contexts, items, context_of * each + n, items.weights > 0) for n in range(each)]
            scores.append(torch.stack(by_context, dim=1))
        return torch.cat(scores)

    def _labelled(self, scores: Tensor, labels: Tensor, sizes: Tensor) -> Tensor:
        known = ~labels.isnan()
        if not known.any():
            return scores.new_zeros(())
        loss = nn.functional.binary_cross_entropy_with_logits(scores[known], labels[known])
        lists = zip(scores.split(sizes.tolist()), labels.split(sizes.tolist()), strict=True)
        listwise = [listwise_loss(one[~label.isnan()], label[~label.isnan()]) for one, label in lists]
        return loss + LISTWISE_SHARE * torch.stack(listwise).mean()


def _centre(loss: _LateLoss, batch: dict[str, Any]) -> None:
    """Set the bias so that scores start near the labels' log-odds: a wrong bias takes thousands of steps to correct."""
    with torch.no_grad():
        labels, teacher = batch["labels"].nanmean(), batch["teacher"][:, 0].nanmean()
        target = torch.logit(labels, eps=0.01) if labels.isfinite() else teacher
        loss.graph.prior.bias[ITEM] += target - loss(**batch)["scores"].mean()


def _distance(scores: Tensor, teacher: Tensor) -> Tensor:
    known = ~teacher.isnan()
    return nn.functional.mse_loss(scores[known], teacher[known]) if known.any() else scores.new_zeros(())


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return inverse


def _optimizer(graph: LateTowerGraph, settings: LateTraining) -> torch.optim.Optimizer:
    """Train layers and head at their own rates; the embeddings stay: most words are too rare to train."""
    graph.tower.embeddings.requires_grad_(requires_grad=False)
    head = [*graph.project.parameters(), *graph.gate.parameters(), *graph.prior.parameters(), graph.slopes]
    groups = [
        {"params": list(graph.tower.layers.parameters()), "lr": settings.learning_rate},
        {"params": head, "lr": settings.head_learning_rate},
    ]
    return torch.optim.AdamW(groups)


@dataclass(frozen=True)
class _Collate:
    """Joins lists to a batch."""

    template: PairTemplate

    def __call__(self, examples: Sequence[LateExample]) -> dict[str, Any]:
        """Pad the texts of several examples: contexts together, items in groups of similar lengths."""
        items = TokenRows.from_rows([row for example in examples for row in example.items])
        order = np.argsort(items.lengths, kind="stable")
        groups = [group for group in np.array_split(order, _GROUPS) if len(group)]
        contexts = TokenRows.from_rows([context for example in examples for context in example.contexts])
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return {
            "contexts": torch.from_numpy(padded(contexts, self.template)),
            "items": [torch.from_numpy(padded(items.take(group), self.template)) for group in groups],
            "order": torch.from_numpy(place),
            "labels": torch.from_numpy(np.concatenate([example.labels for example in examples])),
            "teacher": torch.from_numpy(np.concatenate([example.logits for example in examples])),
            "sizes": torch.tensor([len(example.labels) for example in examples]),
        }
