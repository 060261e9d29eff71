"""What the encoder learns from events: users at moments of the past, what they took next, and what they never took.

Nothing in an example is later than what its moment lets one look at: the user is what was known before it, and the
target is of the window after it. No window reaches past the moment up to which behaviour tables are counted, so that
the encoder has not seen what the second stage learns from, is checked on, or is tested by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from common.arrays import Float32Array, Int64Array
from pipeline.data.dataset.temporal_split import split_users
from pipeline.data.dataset.training_requests import ShopRequest, simulate_cold_start
from pipeline.progress import ProgressStep
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.sources.user_context import UserContext

# Moments that users are asked at, a window apart: what sells in one fortnight is not what sells.
_MOMENTS: Final = 6
_MIN_HISTORY: Final = 3
# A history of more distinct texts is sampled: every text of every user in a step has to be read.
_CONTEXT_TEXTS: Final = 16
# How many items near a user are looked through for those never taken.
_MINED_DEPTH: Final = 600
_CHUNK: Final = 32


@dataclass(frozen=True)
class Purchase:
    """A user at a moment, and an item taken after it.

    Attributes:
        moment: When.
        history: Item ids before the moment, oldest first.
        query: What is searched for; empty for nothing.
        target: The item that was taken in the window after the moment.
        taken: Items that the user took before or after this time; they are no negatives.
        kinds: What each event of the history was, by number; empty if all are of the target.
    """

    moment: datetime
    history: Sequence[str]
    query: str
    target: str
    taken: frozenset[str]
    kinds: Sequence[int] = ()


@dataclass(frozen=True)
class PurchaseExample:
    """A purchase as the encoder learns from it; texts are numbers of distinct texts of the catalogue.

    Attributes:
        context: Texts of the history, none with a query.
        weights: What each of them weighs in the user's vector, 1 together; float32 [context].
        query: The query in tokens, with [CLS] and [SEP]; None without one.
        items: The target's text, then those of mined items.
        taken: Texts that are no negatives.
    """

    context: Int64Array
    weights: Float32Array
    query: npt.NDArray[np.int32] | None
    items: Int64Array
    taken: frozenset[int]


def draw_purchases(
    events: pl.DataFrame,
    titles: Mapping[str, str],
    *,
    until: datetime,
    window: timedelta,
    count: int,
    searches: float,
    seed: int,
) -> list[Purchase]:
    """Draw what users took in the windows before ``until``, each moment's draw depending on its own window alone.

    Args:
        events: The dataset's events.
        titles: The catalogue's items, and their titles, from which searches are made.
        until: End of the last window; later events are not used.
        window: Length of each window.
        count: Maximum number of purchases, divided equally among the windows.
        searches: Share that is turned into searches; see `simulate_cold_start`.
        seed: Seed of the drawing.
    """
    past = events.filter(pl.col("timestamp") < until)
    purchases = []
    for number in range(_MOMENTS):
        moment = until - (number + 1) * window
        asked = split_users(past, moment, window, min_history=_MIN_HISTORY)
        generator = np.random.default_rng([seed, number])
        chosen = [asked[place] for place in generator.permutation(len(asked))[: count // _MOMENTS]]
        requests = [ShopRequest(one.history, "", frozenset(one.held_out), one.kinds) for one in chosen]
        simulated = simulate_cold_start(requests, titles, searches=searches, newcomers=0.0, seed=seed + number)
        later = _taken_from(past, moment)
        for user, request in zip(chosen, simulated, strict=True):
            targets = sorted(request.bought & titles.keys())
            if targets:
                target = str(generator.choice(targets))
                taken = frozenset([*user.history, *later[user.user_id]])
                purchases.append(Purchase(moment, request.history, request.query, target, taken, request.history_kinds))
    return purchases


class EventTexts:
    """Turns purchases into what the encoder reads.

    Args:
        of_item: The number of each item's text; int64 [items].
        first_stage: Serves the catalogue's texts alone: no source of it has counted events.
        queries: The queries' tokens by query, with [CLS] and [SEP].

    Attributes:
        of_item: As given.
    """

    def __init__(
        self, of_item: Int64Array, first_stage: FirstStage, queries: Mapping[str, npt.NDArray[np.int32]]
    ) -> None:
        self.of_item = of_item
        self._first_stage = first_stage
        self._queries = queries

    def examples(
        self, purchases: Sequence[Purchase], *, mined: int, mined_from: int, seed: int, step: ProgressStep
    ) -> list[PurchaseExample]:
        """Return examples with mined negatives: items that the first stage retrieves for the same user.

        Args:
            purchases: The purchases.
            mined: Number of mined negatives of each example.
            mined_from: First rank of mined negatives, from 0, among items that the user never took.
            seed: Seed of the sampling of long histories.
            step: Advanced by one for each.
        """
        examples = []
        for start in range(0, len(purchases), _CHUNK):
            chunk = purchases[start : start + _CHUNK]
            taken = [frozenset(self._texts(sorted(purchase.taken)).tolist()) for purchase in chunk]
            never = self._mine(chunk, taken, mined, mined_from)
            for number, purchase in enumerate(chunk):
                context, weights = self._context(purchase, np.random.default_rng([seed, start + number]))
                items = np.concatenate([self._texts([purchase.target]), never[number]])
                query = self._queries[purchase.query] if purchase.query else None
                examples.append(PurchaseExample(context, weights, query, items, taken[number]))
            step.advance(len(chunk))
        return [example for example in examples if example.query is not None or len(example.context)]

    def _context(self, purchase: Purchase, generator: np.random.Generator) -> tuple[Int64Array, Float32Array]:
        """Return the history's texts and their weights, as the source `semantic` computes a user's vector.

        A long history is sampled, each event with a probability proportional to its weight: the expected mean of the
        sampled vectors is the vector that is served.
        """
        history = (
            self._first_stage.snapshot.history_rows(purchase.history) if not purchase.query else np.empty(0, np.int64)
        )
        settings = self._first_stage.settings
        counted = settings.events.weigh(purchase.kinds if len(history) else (), len(history)).weights
        kept = np.flatnonzero((history >= 0) & (counted > 0))[-settings.history_items :]
        known = history[kept]
        if not len(known):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        user = UserContext(query_vector=None, history=known, decay=settings.decay, event_weights=counted[kept])
        rows, weights = user.weighted_items
        texts, places = np.unique(self.of_item[rows], return_inverse=True)
        total = np.bincount(places, weights=weights.astype(np.float64))
        if len(texts) > _CONTEXT_TEXTS:
            sample = generator.choice(texts, _CONTEXT_TEXTS, p=total / total.sum())
            texts, total = np.unique(sample, return_counts=True)
        return texts, (total / total.sum()).astype(np.float32)

    def _mine(
        self, purchases: Sequence[Purchase], taken: Sequence[frozenset[int]], mined: int, mined_from: int
    ) -> list[Int64Array]:
        """Return retrieved texts that the user never took; fewer if most retrieved texts were taken."""
        if not mined:
            return [np.empty(0, np.int64)] * len(purchases)
        requests = [
            Request(query=one.query, history_item_ids=one.history, limit=_MINED_DEPTH, history_kinds=one.kinds)
            for one in purchases
        ]
        found = []
        for answer, known in zip(self._first_stage.retrieve(requests), taken, strict=True):
            retrieved = dict.fromkeys(self.of_item[answer.rows].tolist())
            never = [text for text in retrieved if text not in known]
            found.append(np.array(never[mined_from : mined_from + mined], np.int64))
        return found

    def _texts(self, item_ids: Sequence[str]) -> Int64Array:
        rows = self._first_stage.snapshot.base.rows_of(item_ids)
        return self.of_item[rows[rows >= 0]]


def _taken_from(events: pl.DataFrame, moment: datetime) -> dict[str, list[str]]:
    """Return the items that each user took from a time on."""
    later = events.filter(pl.col("timestamp") >= moment).group_by("user_id").agg(pl.col("item_id").unique())
    return dict(later.iter_rows())
