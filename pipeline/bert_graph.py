"""BERT as plain matrix products, for export.

The graph holds nothing but what serving needs: no dropout, no cache, no mask helpers. The cross-encoder's last layer
is computed for the [CLS] row alone, since nothing else of it is read: equal outputs for less work.
Model: Devlin et al., arXiv 1810.04805.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification, BertModel

_MASKED = -1e4  # far below any attention score, and finite in half precision


class BertTower(nn.Module):
    """The layers of a BERT model; shares its weights."""

    def __init__(self, bert: BertModel, *, first_token_only: bool) -> None:
        super().__init__()
        # Typed loosely: the library's modules name their parts by attributes alone.
        self.embeddings: Any = bert.embeddings
        self.layers: Any = bert.encoder.layer
        self.heads = int(bert.config.num_attention_heads)
        self.first_token_only = first_token_only

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the last layer's states: float [n, L, width], or [n, 1, width] for the first token only."""
        table = self.embeddings
        positions = table.position_embeddings.weight[: input_ids.shape[1]]
        states: Tensor = table.word_embeddings(input_ids) + table.token_type_embeddings(token_type_ids) + positions
        states = table.LayerNorm(states)
        bias = (1.0 - attention_mask[:, None, None, :].to(states.dtype)) * _MASKED
        for number, layer in enumerate(self.layers):
            last = number == len(self.layers) - 1
            asking = states[:, :1] if last and self.first_token_only else states
            states = self._layer(layer, asking, states, bias)
        return states

    def _layer(self, layer: Any, asking: Tensor, states: Tensor, bias: Tensor) -> Tensor:
        attention = layer.attention
        heard = self._attend(attention.self, asking, states, bias)
        asking = attention.output.LayerNorm(attention.output.dense(heard) + asking)
        wide = nn.functional.gelu(layer.intermediate.dense(asking))
        out: Tensor = layer.output.LayerNorm(layer.output.dense(wide) + asking)
        return out

    def _attend(self, attention: Any, asking: Tensor, states: Tensor, bias: Tensor) -> Tensor:
        query = self._split(attention.query(asking))
        key, value = self._split(attention.key(states)), self._split(attention.value(states))
        scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5) + bias
        heard: Tensor = torch.softmax(scores, dim=-1) @ value
        return heard.transpose(1, 2).flatten(2)

    def _split(self, states: Tensor) -> Tensor:
        """Split [n, L, width] into heads: [n, heads, L, width / heads]."""
        split: Tensor = states.unflatten(-1, (self.heads, -1))
        return split.transpose(1, 2)


class EncoderGraph(nn.Module):
    """Text in, unit-length embedding out: mean pooling over the tokens that are not padding."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.tower = BertTower(bert, first_token_only=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return float [n, width], each row of length 1."""
        states = self.tower(input_ids, attention_mask, torch.zeros_like(input_ids))
        weight = attention_mask[:, :, None].to(states.dtype)
        pooled = (states * weight).sum(1) / weight.sum(1)
        return nn.functional.normalize(pooled, dim=-1)


class CrossEncoderGraph(nn.Module):
    """A pair of texts in, one logit out."""

    def __init__(self, model: BertForSequenceClassification) -> None:
        super().__init__()
        self.tower = BertTower(model.bert, first_token_only=True)
        self.pooler: Any = model.bert.pooler
        self.classifier = model.classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return float [n]."""
        states = self.tower(input_ids, attention_mask, token_type_ids)
        logits: Tensor = self.classifier(self.pooler(states)).squeeze(-1)
        return logits
