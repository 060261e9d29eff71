"""The bi-encoder, fine-tuned on purchases: a user's vector, formed as it is served, near what the user took next.

Contrastive over whole batches, as for judged searches (`pipeline.learning.trainers.bi_encoder`): the others' targets
and mined items are the negatives, but for what the user took.
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

_NO_NEGATIVE: Final = -100.0  # as a cosine: nothing is left of it in the softmax


def train_on_purchases(
    base_model: Path,
    examples: Sequence[PurchaseExample],
    texts: TokenRows,
    settings: EncoderTraining,
    work: Path,
    on_step: OnStep,
) -> BertModel:
    """Fine-tune a copy of the base model; resumes from the last checkpoint in ``work`` where there is one.

    Args:
        base_model: Folder with the base model's configuration and weights.
        examples: What to learn from.
        texts: The texts that they number, with [CLS] and [SEP].
        settings: How.
        work: Folder for checkpoints.
        on_step: Told steps done, steps in all, and the recent loss.
    """
    bert = load_bert(base_model, settings.seed)
    pace = TrainingSchedule(settings.queries_per_step, settings.epochs, settings.seed, settings.warm_up_steps)
    fit(PurchaseLoss(bert), examples, Collate(texts), optimizer_of(bert, settings), pace, work, on_step)
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
        """Return the loss; each text is read once, as user or item or both.

        Args:
            ids: Token ids of the batch's texts; int64 [texts, L].
            mask: Which are no padding; int64 [texts, L].
            users: What each text weighs in each user's vector; float [users, texts].
            items: Each item's text; int64 [items].
            owner: Whose each item is; int64 [items].
            grades: 1 for targets, NaN for mined items; float [items].
            taken: Which items are no negatives of whom; bool [users, items].
        """
        vectors = self.tower(ids, mask)
        cosines = nn.functional.normalize(users @ vectors, dim=-1) @ vectors[items].T
        return {"loss": contrastive_loss(cosines.masked_fill(taken, _NO_NEGATIVE), owner, grades)}


class Collate:
    """Joins examples to a batch, in which every text stands once."""

    def __init__(self, texts: TokenRows) -> None:
        self._texts = texts

    def __call__(self, examples: Sequence[PurchaseExample]) -> dict[str, Tensor]:
        """Return what `PurchaseLoss` is given."""
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
    """Return what each row of the batch weighs in each user's vector; queries stand behind the texts."""
    weights = np.zeros((len(examples), rows), np.float32)
    query = len(texts)
    for user, example in enumerate(examples):
        if example.query is None:
            weights[user, np.searchsorted(texts, example.context)] = example.weights
        else:
            weights[user, query] = 1.0
            query += 1
    return weights
