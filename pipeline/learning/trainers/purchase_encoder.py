"""Fine-tunes the bi-encoder on purchases: a user's vector, computed as in serving, is near the next item.

The loss is contrastive over the batch, as in `bi_encoder`. Negatives are the targets of other users and mined items,
except items that the user took.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertModel

from common.ragged import TokenRows
from pipeline.learning.examples.purchases import PurchaseExample
from pipeline.learning.trainers.bi_encoder import TextTower, contrastive_loss, load_bert, optimizer_of, padded
from pipeline.learning.training_loop.trainer import OnStep, TrainingSchedule, fit
from pipeline.release.config.training_settings import EncoderTraining

_NO_NEGATIVE: Final = -100.0  # a cosine that the softmax turns into 0


def train_on_purchases(
    base_model: Path,
    examples: Sequence[PurchaseExample],
    texts: TokenRows,
    settings: EncoderTraining,
    work: Path,
    on_step: OnStep,
) -> BertModel:
    """Fine-tune a copy of the base model; resumes from the last checkpoint in ``work`` if there is one.

    Args:
        base_model: Folder with the base model's configuration and weights.
        examples: The training examples.
        texts: The texts that the examples refer to by number, with [CLS] and [SEP].
        settings: The training settings.
        work: Folder for checkpoints.
        on_step: Called with steps done, total steps, and the recent loss.
    """
    bert = load_bert(base_model, settings.seed)
    schedule = TrainingSchedule(settings.queries_per_step, settings.epochs, settings.seed, settings.warm_up_steps)
    fit(PurchaseLoss(bert), examples, Collate(texts), optimizer_of(bert, settings), schedule, work, on_step)
    bert.eval()
    return bert


class PurchaseLoss(nn.Module):
    """The loss of a batch of purchases."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.tower = TextTower(bert)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        users: Tensor,
        items: Tensor,
        owner: Tensor,
        grades: Tensor,
        taken: Tensor,
    ) -> dict[str, Tensor]:
        """Return the loss; each text is encoded once, as user or item or both.

        Args:
            ids: Token ids of the batch's texts; int64 [texts, L].
            mask: 1 for tokens, 0 for padding; int64 [texts, L].
            users: Weight of each text in each user's vector; float [users, texts].
            items: Text of each item; int64 [items].
            owner: User of each item; int64 [items].
            grades: 1 for targets, NaN for mined items; float [items].
            taken: Items that each user took, which are no negatives; bool [users, items].
        """
        vectors = self.tower(ids, mask)
        cosines = nn.functional.normalize(users @ vectors, dim=-1) @ vectors[items].T
        return {"loss": contrastive_loss(cosines.masked_fill(taken, _NO_NEGATIVE), owner, grades)}


class Collate:
    """Joins examples to a batch that has each text once."""

    def __init__(self, texts: TokenRows) -> None:
        self._texts = texts

    def __call__(self, examples: Sequence[PurchaseExample]) -> dict[str, Tensor]:
        """Return the arguments of `PurchaseLoss`."""
        items = np.concatenate([example.items for example in examples])
        texts = np.unique(np.concatenate([items, *(example.context for example in examples)]))
        queries = [example.query for example in examples if example.query is not None]
        ids, mask = padded([*map(self._texts.row, texts.tolist()), *queries])
        owner = np.repeat(np.arange(len(examples)), [len(example.items) for example in examples])
        target = np.concatenate([np.arange(len(example.items)) == 0 for example in examples])
        taken = np.array([[text in example.taken for text in items.tolist()] for example in examples])
        taken[owner[target], np.flatnonzero(target)] = False
        return {
            "ids": ids,
            "mask": mask,
            "users": torch.from_numpy(_users(examples, texts, len(ids))),
            "items": torch.from_numpy(np.searchsorted(texts, items)),
            "owner": torch.from_numpy(owner),
            "grades": torch.from_numpy(np.where(target, 1.0, np.nan).astype(np.float32)),
            "taken": torch.from_numpy(taken),
        }


def _users(examples: Sequence[PurchaseExample], texts: np.ndarray, rows: int) -> np.ndarray:
    """Return the weight of each row of the batch in each user's vector; queries follow the texts."""
    weights = np.zeros((len(examples), rows), np.float32)
    query = len(texts)
    for user, example in enumerate(examples):
        if example.query is None:
            weights[user, np.searchsorted(texts, example.context)] = example.weights
        else:
            weights[user, query] = 1.0
            query += 1
    return weights
