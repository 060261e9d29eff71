"""Fine-tunes the bi-encoder on judged queries: a query's vector is near the vectors of its relevant items.

The loss has two terms. One is contrastive, over in-batch negatives (Karpukhin et al., EMNLP 2020) and mined ones, with
the grades of judged items as target distribution. The other is CoSENT (Su, 2022; as in sentence-transformers), which
orders the cosines of all judged pairs of the batch by grade, so that a cosine means the same for every query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import BertModel, set_seed

from common.ragged import TokenRows
from pipeline.learning.training_loop.run import quiet_loading
from pipeline.learning.training_loop.trainer import OnStep, TrainingSchedule, fit
from pipeline.release.config.training_settings import EncoderTraining
from pipeline.release.models.bert_graph import EncoderGraph
from pipeline.release.models.model_folder import load_model

# The inverse temperature that such encoders are usually trained with.
SCALE: Final = 20.0
_PARTS: Final = 4


@dataclass(frozen=True)
class EncoderExample:
    """A query and items, in tokens with [CLS] and [SEP].

    Attributes:
        query: The query; one row.
        items: Judged items, then mined ones.
        grades: Relevance from 0 to 1, NaN for mined items, which have no judgement; float32[items].
    """

    query: TokenRows
    items: TokenRows
    grades: npt.NDArray[np.float32]


def train_encoder(
    base_model: Path, examples: Sequence[EncoderExample], settings: EncoderTraining, work: Path, on_step: OnStep
) -> BertModel:
    """Fine-tune a copy of the base model; resumes from the last checkpoint in ``work`` if there is one.

    Args:
        base_model: Folder with the base model's configuration and weights.
        examples: The training examples.
        settings: The training settings.
        work: Folder for checkpoints.
        on_step: Called with steps done, total steps, and the recent loss.
    """
    bert = load_bert(base_model, settings.seed)
    schedule = TrainingSchedule(settings.queries_per_step, settings.epochs, settings.seed, settings.warm_up_steps)
    loss = _BatchLoss(bert, settings.graded_share)
    fit(loss, examples, _collate, optimizer_of(bert, settings), schedule, work, on_step)
    bert.eval()
    return bert


def load_bert(base_model: Path, seed: int) -> BertModel:
    """Seed all generators, and load a copy of the base model to train."""
    set_seed(seed)
    with quiet_loading():
        bert: BertModel = load_model(BertModel, base_model)
    bert.embeddings.requires_grad_(requires_grad=False)  # most words are too rare to train
    return bert


def optimizer_of(bert: BertModel, settings: EncoderTraining) -> torch.optim.Optimizer:
    """Return the optimizer of the layers."""
    return torch.optim.AdamW(bert.encoder.parameters(), lr=settings.learning_rate)


class TextTower(nn.Module):
    """Embeds texts with the exported graph itself, so that training and serving compute the same."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.graph = EncoderGraph(bert)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return unit vectors, float [texts, width], computed in chunks of similar lengths to save padding."""
        lengths = mask.sum(1)
        order = lengths.argsort(stable=True)
        vectors = []
        for part in order.chunk(_PARTS):
            longest = int(lengths[part].max())
            vectors.append(self.graph(ids[part, :longest], mask[part, :longest]))
        return torch.cat(vectors)[order.argsort()]


class _BatchLoss(nn.Module):
    """The loss of a batch of queries."""

    def __init__(self, bert: BertModel, graded_share: float) -> None:
        super().__init__()
        self.tower = TextTower(bert)
        self.graded_share = graded_share

    def forward(
        self, query_ids: Tensor, query_mask: Tensor, item_ids: Tensor, item_mask: Tensor, grades: Tensor, sizes: Tensor
    ) -> dict[str, Tensor]:
        cosines = self.tower(query_ids, query_mask) @ self.tower(item_ids, item_mask).T
        owner = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        loss = contrastive_loss(cosines, owner, grades)
        own = cosines[owner, torch.arange(len(owner))]
        judged = ~grades.isnan()
        graded = ordered_loss(own[judged], grades[judged])
        return {"loss": loss + self.graded_share * graded, "cosines": own}


def contrastive_loss(cosines: Tensor, owner: Tensor, grades: Tensor) -> Tensor:
    """Return the cross-entropy of each query's graded items against every item of the batch.

    Args:
        cosines: float[queries, items].
        owner: The query of each item; int64[items].
        grades: Relevance to the query, NaN for mined negatives; float[items].
    """
    own = owner[None, :] == torch.arange(len(cosines))[:, None]
    target = torch.where(own, grades.nan_to_num()[None, :], 0.0)
    target = target / target.sum(1, keepdim=True).clamp(min=1e-6)
    return -(target * (SCALE * cosines).log_softmax(1)).sum(1).mean()


def ordered_loss(cosines: Tensor, grades: Tensor) -> Tensor:
    """Return CoSENT's loss: log(1 + sum of exp(scale * (cosine of the worse - cosine of the better))) over all pairs.

    Args:
        cosines: float[pairs].
        grades: float[pairs].
    """
    worse_ahead = SCALE * (cosines[None, :] - cosines[:, None])
    better = grades[:, None] > grades[None, :]
    return torch.cat([worse_ahead[better], cosines.new_zeros(1)]).logsumexp(0)


def _collate(examples: Sequence[EncoderExample]) -> dict[str, Tensor]:
    query_ids, query_mask = padded([example.query.row(0) for example in examples])
    item_ids, item_mask = padded([row for example in examples for row in example.items])
    return {
        "query_ids": query_ids,
        "query_mask": query_mask,
        "item_ids": item_ids,
        "item_mask": item_mask,
        "grades": torch.from_numpy(np.concatenate([example.grades for example in examples])),
        "sizes": torch.tensor([len(example.items) for example in examples]),
    }


def padded(rows: Sequence[npt.NDArray[np.int32]]) -> tuple[Tensor, Tensor]:
    """Return ids and mask, int64[rows, longest]."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate(rows)
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))
