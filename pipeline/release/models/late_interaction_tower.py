"""The late-interaction tower as plain matrix products, for training and export alike.

One BERT reads a user context or an item alone; the token type is 0 for a context and 1 for an item. The score of a
pair is the weighted mean of each context token's best match among the item's tokens (MaxSim; Khattab and Zaharia,
arXiv 2004.12832), plus the cosine of the pooled texts, plus a small linear prior for each side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.release.models.bert_graph import BertTower

if TYPE_CHECKING:
    from transformers import BertModel

CONTEXT, ITEM = 0, 1
_DROPPED = -1e4  # far below any gate, and finite in half precision
_SLOPE = 6.0  # of MaxSim and of the cosine at the start: both are in -1 to 1, the sum's logits in -3 to 3


class Encoded(NamedTuple):
    """Texts as the joint step reads them.

    Attributes:
        vectors: Each token's unit vector; those at [SEP] and padding mean nothing; float [n, L, width].
        weights: How much each token counts as a context's; 0 at [SEP] and padding; float [n, L].
        pooled: The text's vector; the dot product of two is their part of the score; float [n, width].
        prior: What the text alone adds to the score; float [n].
    """

    vectors: Tensor
    weights: Tensor
    pooled: Tensor
    prior: Tensor


class LateTowerGraph(nn.Module):
    """A text in, its vectors out; shares the BERT's weights.

    Args:
        bert: The layers.
        width: Of the vectors.
    """

    def __init__(self, bert: BertModel, width: int) -> None:
        super().__init__()
        self.tower = BertTower(bert, first_token_only=False)
        hidden = int(bert.config.hidden_size)
        self.project = nn.Linear(hidden, width, bias=False)
        self.gate = nn.Linear(hidden, 1)
        self.prior = nn.Linear(hidden, 2)
        self.slopes = nn.Parameter(torch.full((2,), _SLOPE).log())
        nn.init.orthogonal_(self.project.weight)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.prior.weight)

    def forward(self, input_ids: Tensor, role: Tensor) -> Encoded:
        """Read texts.

        Args:
            input_ids: ``[CLS] text [SEP]``, padded with 0; int [n, L].
            role: 0 for a user context, 1 for an item; int [n].
        """
        mask = (input_ids > 0).to(torch.int64)
        types = role[:, None].to(torch.int64) * torch.ones_like(mask)
        states = self.tower(input_ids.to(torch.int64), mask, types)
        kept = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1).to(states.dtype)
        projected = self.project(states)
        shares = torch.softmax(self.gate(states).squeeze(-1) + (1.0 - kept) * _DROPPED, dim=-1) * kept
        match, likeness = self.slopes.exp()
        pooled = nn.functional.normalize((projected * kept[:, :, None]).sum(1), dim=-1) * likeness.sqrt()
        mean = (states * kept[:, :, None]).sum(1) / kept.sum(1, keepdim=True)
        of_role = torch.nn.functional.one_hot(role.to(torch.int64), 2).to(states.dtype)
        prior = (self.prior(mean) * of_role).sum(-1)
        return Encoded(nn.functional.normalize(projected, dim=-1), shares * match, pooled, prior)


def joint_scores(contexts: Encoded, items: Encoded, context_of: Tensor, item_mask: Tensor) -> Tensor:
    """Return the score of each item with its context; float[items].

    Args:
        contexts: Encoded contexts.
        items: Encoded items.
        context_of: The context of each item; int [items].
        item_mask: Which of the items' vectors count; bool [items, L].
    """
    sims = contexts.vectors[context_of] @ items.vectors.transpose(1, 2)
    best = sims.masked_fill(~item_mask[:, None, :], _DROPPED).amax(-1)
    match = (best * contexts.weights[context_of]).sum(-1)
    likeness = (contexts.pooled[context_of] * items.pooled).sum(-1)
    return match + likeness + contexts.prior[context_of] + items.prior
