"""Neural baselines on item embeddings: SASRec and neural collaborative filtering.

Users are their histories, so that they need not be known when the weights are fitted. Items that nobody took have no
embedding, and come last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from common.arrays import Float32Array
from pipeline.learning.item_graphs.purchases import Purchases
from services.ranking.request import UserRows

_WIDTH: Final = 64
_LENGTH: Final = 50  # events of a history
_BLOCKS: Final = 2
_DROPOUT: Final = 0.2
_NEGATIVES: Final = 256  # shared by a batch
_BATCH: Final = 128
_EPOCHS: Final = 4
_MIN_STEPS, _MAX_STEPS = 100, 1_500
_LEARNING_RATE: Final = 2e-3
_PAD: Final = 0


@dataclass(frozen=True, eq=False)
class NeuralModel:
    """A network that scores every item with an embedding.

    Attributes:
        place: The number of each catalogue row's embedding, 0 for none; int64[items].
        score: Scores of the embeddings from 1 on, from a history of them that is not empty, oldest first.
    """

    place: npt.NDArray[np.int64]
    score: Callable[[npt.NDArray[np.int64]], Float32Array]

    def scores(self, user: UserRows) -> Float32Array:
        """See `Baseline`."""
        history = self.place[user.history]
        history = history[history > 0][-_LENGTH:]
        if not len(history):
            return np.zeros(len(self.place), np.float32)
        found = self.score(history)
        return np.concatenate([[found.min(initial=0.0) - 1], found]).astype(np.float32)[self.place]


class _SelfAttention(nn.Module):
    """SASRec: what follows each event, by causal self-attention over the events before it."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.items = nn.Embedding(items + 1, _WIDTH, padding_idx=_PAD)
        nn.init.normal_(self.items.weight, std=_WIDTH**-0.5)
        self.places = nn.Embedding(_LENGTH, _WIDTH)
        self.dropout = nn.Dropout(_DROPOUT)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(_WIDTH, 1, _WIDTH, _DROPOUT, batch_first=True, norm_first=True)
            for _ in range(_BLOCKS)
        )
        self.norm = nn.LayerNorm(_WIDTH)

    def forward(self, history: Tensor) -> Tensor:
        """Return what each event leads to; int64[batch, events], padded at the end, to float32[…, width]."""
        length = history.shape[1]
        hidden = self.dropout(self.items(history) + self.places(torch.arange(length)))
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        for block in self.blocks:
            hidden = block(hidden, src_mask=later)
        return self.norm(hidden)  # type: ignore[no-any-return]  # a Tensor


class _Collaborative(nn.Module):
    """Neural collaborative filtering: a dense network over the user's and the item's embeddings and their product."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.items = nn.Embedding(items + 1, _WIDTH, padding_idx=_PAD)
        nn.init.normal_(self.items.weight, std=_WIDTH**-0.5)
        self.events = nn.EmbeddingBag(items + 1, _WIDTH, mode="mean", padding_idx=_PAD)
        self.dense = nn.Sequential(nn.Linear(3 * _WIDTH, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, 1))

    def forward(self, history: Tensor, items: Tensor) -> Tensor:
        """Score items for users; int64[batch, events] and int64[items] to float32[batch, items]."""
        user = self.events(history)[:, None, :].expand(-1, len(items), -1)
        item = self.items(items)[None].expand(len(history), -1, -1)
        product = (user * item).sum(-1)
        return product + self.dense(torch.cat([user, item, user * item], dim=-1)).squeeze(-1)  # type: ignore[no-any-return]


def fit_sasrec(purchases: Purchases, items: int, seed: int) -> NeuralModel:
    """Fit self-attentive sequential recommendation (SASRec; Kang and McAuley, ICDM 2018).

    The loss is a softmax over the next item and negatives that are drawn by popularity and shared by a batch.

    Args:
        purchases: What was taken, with ages.
        items: Number of items of the catalogue.
        seed: Of weights and draws.
    """
    sequences, place = _sequences(purchases, items)
    torch.manual_seed(seed)
    model = _SelfAttention(int(place.max(initial=0)))

    def loss(batch: Tensor, negatives: Tensor) -> Tensor:
        history, target = batch[:, :-1], batch[:, 1:]
        known = target != _PAD
        hidden, wanted = model(history)[known], target[known]
        right = (hidden * model.items(wanted)).sum(-1, keepdim=True)
        wrong = hidden @ model.items(negatives).T
        wrong = wrong.masked_fill(wanted[:, None] == negatives[None], -torch.inf)
        logits = torch.cat([right, wrong], dim=1)
        return nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))

    _train(model, sequences, loss, seed)

    def score(history: npt.NDArray[np.int64]) -> Float32Array:
        with torch.inference_mode():
            last = model(torch.from_numpy(history)[None])[0, -1]
            return np.asarray(model.items.weight[1:] @ last, np.float32)

    return NeuralModel(place, score)


def fit_collaborative(purchases: Purchases, items: int, seed: int) -> NeuralModel:
    """Fit neural collaborative filtering (He et al., WWW 2017), a user being the mean of the history's embeddings.

    Arguments are those of `fit_sasrec`; the loss is the same softmax, for the last item of each sequence.
    """
    sequences, place = _sequences(purchases, items)
    torch.manual_seed(seed)
    model = _Collaborative(int(place.max(initial=0)))
    generator = np.random.default_rng([seed, 1])

    def loss(batch: Tensor, negatives: Tensor) -> Tensor:
        lengths = (batch != _PAD).sum(1).numpy()
        at = torch.from_numpy(generator.integers(1, lengths))  # any event but the first
        before = torch.arange(batch.shape[1])[None] < at[:, None]
        target = batch.gather(1, at[:, None]).squeeze(1)
        logits = model(batch * before, torch.cat([target, negatives]))
        right = torch.arange(len(batch))
        drawn = torch.cat([target, negatives])
        same = drawn[None] == target[:, None]
        same[right, right] = False
        return nn.functional.cross_entropy(logits.masked_fill(same, -torch.inf), right)

    _train(model, sequences, loss, seed)
    everything = torch.arange(1, int(place.max(initial=0)) + 1)

    def score(history: npt.NDArray[np.int64]) -> Float32Array:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(history)[None], everything)[0], np.float32)

    return NeuralModel(place, score)


def _sequences(purchases: Purchases, items: int) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Return users' events as embeddings' numbers, oldest first, and each catalogue row's number.

    A user's events are cut into sequences of a history and the event after it, from the last one backwards.

    Returns:
        int64[sequences, events], padded at the end; and int64[items], 0 for items that nobody took.
    """
    taken = np.unique(purchases.rows)
    place = np.zeros(items, np.int64)
    place[taken] = np.arange(1, len(taken) + 1)
    order = np.lexsort((-purchases.ages, purchases.users))
    users, rows = purchases.users[order], place[purchases.rows[order]]
    starts = np.flatnonzero(np.diff(users, prepend=-1))
    cut = []
    for own in np.split(rows, starts[1:]):
        for end in range(len(own), 1, -_LENGTH):
            part = own[max(end - _LENGTH - 1, 0) : end]
            cut.append(np.pad(part, (0, _LENGTH + 1 - len(part))))
    found = np.stack(cut) if cut else np.empty((0, 2), np.int64)
    longest = max(int((found != _PAD).sum(1).max(initial=0)), 2)
    return torch.from_numpy(found[:, :longest].astype(np.int64)), place


def _train(model: nn.Module, sequences: Tensor, loss: Callable[[Tensor, Tensor], Tensor], seed: int) -> None:
    """Fit a model by Adam on one thread, for four passes or as many steps as take minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # repeatable, and on small batches as fast
    optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)
    model.train()
    for batch, negatives in _batches(sequences, seed):
        optimizer.zero_grad()
        loss(batch, negatives).backward()
        optimizer.step()
    model.eval()
    torch.set_num_threads(threads)


def _batches(sequences: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random sequences, and events of others as negatives; nothing if there are no sequences."""
    count = len(sequences)
    if not count:
        return
    generator = np.random.default_rng(seed)
    events = sequences[sequences != _PAD]
    for _ in range(min(max(_EPOCHS * count // _BATCH, _MIN_STEPS), _MAX_STEPS)):
        chosen = generator.integers(0, count, min(_BATCH, count))
        negatives = events[torch.from_numpy(generator.integers(0, len(events), _NEGATIVES))].unique()
        yield sequences[torch.from_numpy(chosen)], negatives
