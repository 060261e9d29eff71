"""Measuring a model on lists that it does not learn from, while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from pipeline.learning.examples.ranking_lists import ListFile, RankingExample
from pipeline.learning.training_loop.list_loss import ListLoss, combined
from pipeline.learning.training_loop.list_metrics import list_ndcg
from pipeline.measurement.metrics.learning_curve import VALID_LOSS, VALID_MEASURE

_TIMES: Final = 8
_CHUNK_LISTS: Final = 8


class Validation(TrainerCallback):
    """Writes loss and NDCG@10 of validation lists into the trainer's log: before the first step, then eight times.

    The processes share the lists. Nothing is chosen by the figures: they are for users.

    Args:
        loss: What is trained.
        lists: The validation lists; with none, nothing is measured.
        collate: Makes a batch of lists.
    """

    def __init__(
        self, loss: ListLoss, lists: ListFile, collate: Callable[[Sequence[RankingExample]], dict[str, Tensor]]
    ) -> None:
        self._loss = loss
        self._lists = lists
        self._collate = collate

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002 - the library's signature
        """Measure the untrained model; one that goes on after a kill was measured before."""
        if state.global_step == 0:
            self._measure(args, state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002 - the library's signature
        """Measure every eighth of the way, and at the end."""
        step = state.global_step
        if step % max(state.max_steps // _TIMES, 1) == 0 or step == state.max_steps:
            self._measure(args, state)

    def _measure(self, args: TrainingArguments, state: TrainerState) -> None:
        if not len(self._lists):
            return
        sums = torch.zeros(6, dtype=torch.float64)
        own = range(args.process_index, len(self._lists), args.world_size)
        for start in range(0, len(own), _CHUNK_LISTS):
            sums += self._sums([self._lists[place] for place in own[start : start + _CHUNK_LISTS]], args.device)
        if distributed.is_initialized():
            sums = sums.to(args.device)
            distributed.all_reduce(sums)
        pointwise, pairs, listwise, lists, ndcg, measured = sums.tolist()
        entry = {VALID_LOSS: combined(pointwise, pairs, listwise, lists), "step": state.global_step}
        if measured:
            entry[VALID_MEASURE] = ndcg / measured
        state.log_history.append(entry)

    def _sums(self, lists: Sequence[RankingExample], device: torch.device) -> Tensor:
        """Return both losses' sums with their counts, and NDCG@10's with its: float64 [6]."""
        batch = {name: values.to(device) for name, values in self._collate(lists).items()}
        logits, pointwise, listwise = self._loss.measure(batch)
        by_list = [part.cpu().numpy() for part in logits.split(batch["sizes"].tolist())]
        ndcg = list_ndcg(lists, by_list)
        parts = [pointwise.item(), len(logits), listwise.item(), len(lists), ndcg.sum(), len(ndcg)]
        return torch.tensor(parts, dtype=torch.float64)
