"""The loss of lists of labelled pairs, on one process or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, distributed, nn
from transformers import BertForSequenceClassification

from pipeline.release.models.bert_graph import CrossEncoderGraph

LISTWISE_SHARE: Final = 0.25
# Chunks of similar lengths in a step. Judged searches vary in length: one padded batch would take 70 % longer.
_PARTS: Final = 4


class ListLoss(nn.Module):
    """The loss of a batch of lists; computes the exported graph itself, so that training and serving agree.

    Binary cross-entropy makes the logit a log-odds of purchase; a listwise term over each list's candidates is added
    (ListNet's top-1 likelihood; Cao et al., ICML 2007). Sums are divided by the counts of the *average* process, so
    the mean of the processes' gradients is the gradient of the whole step, whatever the length of each process's lists.
    """

    def __init__(self, model: BertForSequenceClassification) -> None:
        super().__init__()
        self.graph = CrossEncoderGraph(model)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, labels: Tensor, sizes: Tensor
    ) -> dict[str, Tensor]:
        """Return the loss, a scalar, and the logits, float [pairs]."""
        logits = self._logits(input_ids, attention_mask, token_type_ids)
        pointwise, listwise = summed(logits, labels, sizes.tolist())
        pairs, lists = _mean_over_processes(torch.tensor([len(labels), len(sizes)], device=logits.device))
        return {"loss": pointwise / pairs + LISTWISE_SHARE * listwise / lists, "logits": logits}

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, and the sums of both losses, of a batch, without gradients."""
        logits = self._logits(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
        return logits, *summed(logits, batch["labels"], batch["sizes"].tolist())

    def _logits(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the logits of pairs, computed in chunks of similar lengths, each padded to its longest pair."""
        lengths = attention_mask.sum(1)
        order = lengths.argsort(stable=True)
        inputs = (input_ids, attention_mask, token_type_ids)
        logits = [
            self.graph(*(tensor[part, : int(lengths[part].max())] for tensor in inputs)) for part in order.chunk(_PARTS)
        ]
        return torch.cat(logits)[order.argsort()]


def summed(logits: Tensor, labels: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the pointwise loss summed over pairs, and the listwise one summed over lists."""
    pointwise = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    lists = zip(logits.split(list(sizes)), labels.split(list(sizes)), strict=True)
    return pointwise, torch.stack([listwise_loss(*pair) for pair in lists]).sum()


def combined(pointwise: float, pairs: float, listwise: float, lists: float) -> float:
    """Return the loss from sums over pairs and lists."""
    return pointwise / pairs + LISTWISE_SHARE * listwise / lists


def listwise_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy between the labels' shares and the logits' softmax."""
    return -(labels / labels.sum().clamp(min=1e-6) * logits.log_softmax(0)).sum()


def _mean_over_processes(counts: Tensor) -> Tensor:
    counts = counts.to(torch.float32)
    if distributed.is_initialized():
        distributed.all_reduce(counts)
        counts /= distributed.get_world_size()
    return counts
