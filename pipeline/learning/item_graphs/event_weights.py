"""Learns how much an event of each kind counts, by how well it foretells later purchases.

A plain recommender is measured for each candidate weight: transitions and popularity, both counted with the weight,
applied to histories weighed alike. It is asked at one moment of training for what users bought next. Validation and
test have no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl
import scipy.sparse as sp

from common.arrays import Float32Array, Float64Array, Int64Array
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import (
    TARGET,
    WEIGHT,
    kinds_to_learn,
    target_events,
    weigh_events,
    weights_for,
)
from pipeline.data.dataset.training_requests import Windows
from pipeline.learning.item_graphs.cross_fitting import split_sequences
from pipeline.learning.item_graphs.purchases import Purchases, popularity, transition_table

CANDIDATES: Final = (0.0, 0.03, 0.1, 0.3, 1.0)
# Enough to tell weights a factor of three apart, and few enough to count the tables twenty times.
_MAX_EVENTS: Final = 200_000
_MAX_USERS: Final = 2_000
_MIN_USERS: Final = 50
_MAX_CELLS: Final = 20_000_000  # scores at a time: 80 MB
_HALF_LIFE: Final = 150.0
_TOP: Final = 10
# Of the best score by transitions, for items that they do not reach.
_POPULAR_SHARE: Final = 0.1


@dataclass(frozen=True)
class _Known:
    """Events before a moment of training, and what was bought after it.

    Attributes:
        events: Weighed events before the moment, of a sample of users, with the column `row`.
        bought: 1 for what each user that is asked about bought afterwards; sparse [users, items].
        users: Those users, in order.
        moment: The moment.
    """

    events: pl.DataFrame
    bought: sp.csr_matrix
    users: Sequence[str]
    moment: datetime


def learn_event_weights(
    dataset: Dataset, stated: Mapping[str, float], days: float | None, seed: int
) -> dict[str, float]:
    """Return the weights that are stated, and those learned for the other kinds that the data has.

    A kind keeps its default weight unless another one is better by more than a standard error, or if too few users
    bought something.

    Args:
        dataset: The data, with every kind of event.
        stated: Weights that are set.
        days: Length of the windows; None if requests are judged by the next item.
        seed: Seed of the sample of users.
    """
    kinds = kinds_to_learn(dataset.events, stated)
    if not kinds:
        return dict(stated)
    weights = weights_for(set(dataset.events["event"].unique()), stated)
    known = _known(weigh_events(dataset, weights).events, days, seed)
    learned = {kind: weights.weights[kind] for kind in kinds}
    if known is not None and len(known.users) >= _MIN_USERS:
        for kind in kinds:
            learned[kind] = _best(known, {**weights.weights, **learned}, kind)
    return {**stated, **learned}


def _best(known: _Known, weights: Mapping[str, float], kind: str) -> float:
    best, measured = weights[kind], _measure(known, weights)
    for candidate in CANDIDATES:
        if candidate == weights[kind]:
            continue
        other = _measure(known, {**weights, kind: candidate})
        gain = other - measured
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            best, measured = candidate, other
    return best


def _measure(known: _Known, weights: Mapping[str, float]) -> Float64Array:
    """Return NDCG@10 of each user by transitions and popularity."""
    events = known.events.with_columns(
        pl.col("event").replace_strict(dict(weights), default=1.0, return_dtype=pl.Float32).alias(WEIGHT)
    ).filter(pl.col(WEIGHT) > 0)
    items = known.bought.shape[1]
    purchases = Purchases.from_rows(events, events["row"].to_numpy(), known.moment)
    histories = _histories(events, known.users, items)
    table, popular = transition_table(purchases.baskets(items)), popularity(purchases, items).buyers
    popular *= _POPULAR_SHARE / max(float(popular.max(initial=0.0)), 1e-9)
    users = max(1, _MAX_CELLS // items)
    parts = [slice(start, start + users) for start in range(0, len(known.users), users)]
    return np.concatenate([_ndcg(_scores(histories[part] @ table, popular), known.bought[part]) for part in parts])


def _scores(by_transitions: sp.csr_matrix, popular: Float32Array) -> Float32Array:
    scores = np.asarray(by_transitions.todense(), np.float32)
    return np.asarray(scores / np.maximum(scores.max(axis=1, keepdims=True), 1e-9) + popular, np.float32)


def _histories(events: pl.DataFrame, users: Sequence[str], items: int) -> sp.csr_matrix:
    """Return what each user's events count by item, less the more came after them; sparse [users, items]."""
    numbers = {user: number for number, user in enumerate(users)}
    weight = pl.col(WEIGHT).cast(pl.Float64)
    later = weight.cum_sum(reverse=True).over("user_id") - weight
    aged = events.filter(pl.col("user_id").is_in(list(users))).select(
        pl.col("user_id").replace_strict(numbers, return_dtype=pl.Int64), "row", (weight * 0.5 ** (later / _HALF_LIFE))
    )
    user, row, value = (aged[name].to_numpy() for name in ("user_id", "row", WEIGHT))
    return sp.csr_matrix((value.astype(np.float32), (user, row)), (len(users), items))


def _ndcg(scores: Float32Array, bought: sp.csr_matrix) -> Float64Array:
    top = np.argpartition(-scores, min(_TOP, scores.shape[1] - 1), axis=1)[:, :_TOP]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable"), 1)
    discount = 1 / np.log2(np.arange(2, _TOP + 2))
    hits = np.take_along_axis(np.asarray(bought.todense()), top, axis=1)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(np.diff(bought.indptr), _TOP)]
    return np.asarray(hits @ discount[: hits.shape[1]] / ideal)


def _known(events: pl.DataFrame, days: float | None, seed: int) -> _Known | None:
    """Return what is known at the last moment of training; None if the events leave nothing to learn from."""
    if TARGET not in events.columns:
        return None
    past, future, moment = _by_next_item(events) if days is None else _by_window(events, days)
    past = _sample(past, seed)
    items = pl.concat([past["item_id"], future["item_id"]]).unique().sort()
    rows = pl.DataFrame({"item_id": items, "row": np.arange(len(items))})
    past, future = (frame.join(rows, on="item_id", maintain_order="left") for frame in (past, future))
    asked = future.filter(pl.col("user_id").is_in(past["user_id"].unique().implode())).unique(["user_id", "row"])
    users = sorted(set(asked["user_id"]))[:_MAX_USERS]
    asked = asked.filter(pl.col("user_id").is_in(users))
    if past.is_empty() or not users:
        return None
    numbers: Int64Array = np.searchsorted(users, asked["user_id"].to_list()).astype(np.int64)
    ones = np.ones(len(numbers), np.float32)
    bought = sp.csr_matrix((ones, (numbers, asked["row"].to_numpy())), (len(users), len(items)))
    return _Known(past, bought, users, moment)


def _by_window(events: pl.DataFrame, days: float) -> tuple[pl.DataFrame, pl.DataFrame, datetime]:
    windows, time = Windows.of(events, days), pl.col("timestamp")
    moment = windows.training[-1]
    future = target_events(events).filter((time >= moment) & (time < windows.valid))
    return events.filter(time < moment), future, moment


def _by_next_item(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, datetime]:
    """Split each user's events before validation at the last one of the target."""
    order = "timestamp" if "timestamp" in events.columns else "position"
    before = {user: len(items) for user, items in split_sequences(events).before.items()}
    place = pl.int_range(pl.len()).over("user_id")
    ordered = events.sort("user_id", order, maintain_order=True).with_columns(place.alias("place"))
    ordered = ordered.filter(
        pl.col("place") < pl.col("user_id").replace_strict(before, default=0, return_dtype=pl.Int64)
    )
    last = pl.col("place").filter(pl.col(TARGET)).max().over("user_id")
    # Only order is known: a time stands for it, and no age is read.
    timed = ordered.with_columns((pl.datetime(2000, 1, 1) + pl.duration(seconds=pl.col("place"))).alias("timestamp"))
    past = timed.filter((pl.col("place") < last).fill_null(value=True))
    return past, timed.filter(pl.col("place") == last), datetime(2100, 1, 1)  # noqa: DTZ001 - datasets have no zone


def _sample(events: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return the events of a sample of users, at most about `_MAX_EVENTS`."""
    if events.height <= _MAX_EVENTS:
        return events
    users = events["user_id"].unique().sort()
    share = _MAX_EVENTS / events.height
    chosen = np.random.default_rng(seed).random(len(users)) < share
    return events.filter(pl.col("user_id").is_in(users.filter(pl.Series(chosen)).implode()))
