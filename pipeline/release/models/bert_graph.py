"""BERT as plain matrix products, for export.

The graph holds nothing but what serving needs: no dropout, no cache, no mask helpers.

- Inside, tokens come before rows: [L, n, width]. Split into heads, such a tensor is what onnxruntime's FusedMatMul
  reads through its strides (transBatchA, transBatchB), so that queries, keys and values are never copied into another
  order.
- The cross-encoder's last layer is computed for the [CLS] row alone, since nothing else of it is read. With one row
  that asks there is no need for every token's key and value either: see `_first_row`. Equal outputs for less work.

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
        self.size = int(bert.config.hidden_size) // self.heads
        self.first_token_only = first_token_only

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the last layer's states: float [n, L, width], or [n, 1, width] for the first token only."""
        rows, length = input_ids.shape  # read once, so that the graph computes no shape again
        table = self.embeddings
        words, kinds = table.word_embeddings(input_ids.t()), table.token_type_embeddings(token_type_ids.t())
        states: Tensor = table.LayerNorm(words + kinds + table.position_embeddings.weight[:length, None])
        bias = (1.0 - attention_mask[:, None, None, :].to(states.dtype)) * _MASKED
        for layer in self.layers[:-1]:
            states = _after(layer, self._attend(layer.attention.self, states, bias, (length, rows)), states)
        layer = self.layers[-1]
        if self.first_token_only:
            states = _after(layer, self._first_row(layer.attention.self, states, bias[:, 0], rows), states[:1])
        else:
            states = _after(layer, self._attend(layer.attention.self, states, bias, (length, rows)), states)
        return states.transpose(0, 1)

    def _attend(self, attention: Any, states: Tensor, bias: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return each token's attention output: [L, n, width]."""
        split = (*shape, self.heads, self.size)
        query = attention.query(states).view(split).permute(1, 2, 0, 3)
        key = attention.key(states).view(split).permute(1, 2, 3, 0)
        value = attention.value(states).view(split).permute(1, 2, 0, 3)
        scores = query @ key * (self.size**-0.5) + bias
        attended_values: Tensor = torch.softmax(scores, dim=-1) @ value
        return attended_values.permute(2, 0, 1, 3).reshape(*shape, -1)

    def _first_row(self, attention: Any, states: Tensor, bias: Tensor, rows: int) -> Tensor:
        """Return the first token's attention output: [1, n, width].

        ``query . (W_k state + b_k)`` is ``(query W_k) . state`` and a constant that softmax drops; and the weighted
        mean of ``W_v state + b_v`` is that of the states through ``W_v``, and ``b_v``. So a row is multiplied with
        either matrix once, instead of each of its tokens.
        """
        split = (self.heads, self.size, -1)
        query = attention.query(states[:1]).view(rows, self.heads, self.size).transpose(0, 1)
        asked = query @ attention.key.weight.view(split) * (self.size**-0.5)  # [heads, n, width]
        scores = asked.transpose(0, 1) @ states.permute(1, 2, 0) + bias  # [n, heads, L]
        attended_values = torch.softmax(scores, dim=-1) @ states.transpose(0, 1)  # [n, heads, width]
        values = attended_values.transpose(0, 1) @ attention.value.weight.view(split).transpose(1, 2)
        merged: Tensor = values.transpose(0, 1).reshape(1, rows, -1) + attention.value.bias
        return merged


def _after(layer: Any, attended_values: Tensor, states: Tensor) -> Tensor:
    """Return a layer's output from its attention output and its input states."""
    attended = layer.attention.output.LayerNorm(layer.attention.output.dense(attended_values) + states)
    wide = nn.functional.gelu(layer.intermediate.dense(attended))
    out: Tensor = layer.output.LayerNorm(layer.output.dense(wide) + attended)
    return out


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
