"""Behaviour tables of events of several kinds, against a plain count; and of purchases alone, to the byte."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.learning.item_graphs.baskets import again, follow, repeat
from pipeline.learning.item_graphs.demand import demand
from pipeline.learning.item_graphs.purchases import DECAY, SHRINK, STEPS, Purchases, popularity, transitions
from pipeline.learning.item_graphs.sequences import Sequences, statistics

ITEMS = 5
WEIGHTS = {"view": 0.25, "cart": 0.5, "purchase": 1.0}
EVENT = st.tuples(st.integers(0, ITEMS - 1), st.sampled_from(sorted(WEIGHTS)))
USERS = st.lists(st.lists(st.lists(EVENT, min_size=1, max_size=3), min_size=1, max_size=8), min_size=1, max_size=4)
Users = list[list[list[tuple[int, str]]]]


def _purchases(users: Users) -> Purchases:
    rows = [
        (user, user * 100 + number, item, WEIGHTS[kind], kind == "purchase")
        for user, sessions in enumerate(users)
        for number, session in enumerate(sessions)
        for item, kind in session
    ]
    owners, sessions, items, weights, targets = zip(*rows, strict=True)
    ids = (np.array(column, np.int64) for column in (owners, sessions, items))
    ages = np.zeros(len(rows), np.float32)
    return Purchases(*ids, ages, np.array(weights, np.float32), np.array(targets))


def _held(session: list[tuple[int, str]]) -> dict[int, float]:
    """Return what the strongest event of a session with each item counts."""
    found: dict[int, float] = {}
    for item, kind in session:
        found[item] = max(found.get(item, 0.0), WEIGHTS[kind])
    return found


def _expected(users: Users) -> tuple[Any, Any]:
    """Return `repeat`'s diagonal and `follow` by their definitions."""
    table, own, interest = np.zeros((ITEMS, ITEMS)), np.zeros(ITEMS), np.zeros(ITEMS)
    seen, bought = np.zeros(ITEMS), np.zeros(ITEMS)
    for sessions in users:
        for place, session in enumerate(sessions):
            later = [
                {item for item, weight in _held(one).items() if weight == 1}
                for one in sessions[place + 1 :]
                if any(kind == "purchase" for _, kind in one)
            ]
            for item, weight in _held(session).items():
                seen[item] += weight
                bought[item] += weight == 1
                for step, basket in enumerate(later[:STEPS]):
                    for other in basket - {item}:
                        table[item, other] += weight * DECAY**step
                    if item in basket and weight == 1:
                        own[item] += DECAY**step
                    elif item in basket:
                        interest[item] += weight * DECAY**step
    total = sum(DECAY**step for step in range(STEPS))
    return own / (bought * total + SHRINK), (table + np.diag(interest)) / (seen * total + SHRINK)[:, None]


def _dense(graph: Any) -> Any:
    return sp.csr_matrix((graph.weights, graph.indices, graph.indptr), (ITEMS, ITEMS)).toarray()


@settings(max_examples=80, deadline=None)
@given(USERS)
def test_views_lead_to_purchases_and_are_none(users: Users):
    """`repeat` counts purchases alone; `follow` counts what was bought after an event, by what the event counts."""
    graphs = transitions(_purchases(users), ITEMS)
    own, others = _expected(users)
    assert _dense(graphs["repeat"]) == pytest.approx(np.diag(own), abs=1e-6)
    assert _dense(graphs["follow"]) == pytest.approx(others, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(USERS)
def test_popularity_counts_viewers_for_less_than_buyers(users: Users):
    """Each user counts once by the strongest event; only purchases are bought again."""
    counts = popularity(_purchases(users), ITEMS)
    strongest = [_held([event for session in sessions for event in session]) for sessions in users]
    bought = [
        [sum((item, "purchase") == event for session in sessions for event in session) for item in range(ITEMS)]
        for sessions in users
    ]
    assert counts.buyers == pytest.approx([sum(user.get(item, 0.0) for user in strongest) for item in range(ITEMS)])
    again_ = [sum(max(0, user[item] - 1) for user in bought) for item in range(ITEMS)]
    total = [max(1, sum(user[item] for user in bought)) for item in range(ITEMS)]
    assert counts.repeat_rate == pytest.approx(np.array(again_) / total)


def test_counting_views_as_purchases_would_be_wrong():
    """A user who looks ten times and buys another item never bought the first, let alone again."""
    users: Users = [[[(0, "view")]] * 10 + [[(1, "purchase")]]]
    graphs = transitions(_purchases(users), ITEMS)
    assert not len(graphs["repeat"].weights)
    assert _dense(graphs["follow"])[0].argmax() == 1
    found = demand(_purchases(users), ITEMS)
    assert np.isnan(found["last_sold"][0])
    assert found["last_sold"][1] == 0
    assert found["bought_again"][0] == 0
    assert found["sold_7"][:2] == pytest.approx([10 * 0.25 / (10 * 0.25 + 1), 1 / (10 * 0.25 + 1)])


class _Catalogue:
    """A catalogue of numbered items; the last two are unknown."""

    def rows_of(self, item_ids: list[str]) -> Any:
        """Return an item's number, -1 for the unknown ones."""
        numbers = np.array([int(item_id[1:]) for item_id in item_ids], np.int64)
        return np.where(numbers < 12, numbers, -1)


def _feed(digest: Any, *arrays: Any) -> None:
    for array in arrays:
        digest.update(str(array.dtype).encode() + np.ascontiguousarray(array).tobytes())


def _feed_table(digest: Any, table: Any) -> None:
    table = sp.csr_matrix(table)
    table.sort_indices()
    _feed(digest, table.indptr, table.indices, table.data)


def test_tables_of_purchases_alone_are_what_they_were_to_the_byte():
    """The hash was taken before there were kinds of event: graphs, popularity, demand and sequences are the same."""
    generator, items, count = np.random.default_rng(3), 12, 400
    users, bought = generator.integers(0, 25, count), generator.integers(0, items + 2, count)
    start = datetime(2024, 1, 1)  # noqa: DTZ001 - datasets have no zone
    hours = generator.integers(0, 2000, count)
    events = pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in users],
            "item_id": [f"i{item}" for item in bought],
            "timestamp": [start + timedelta(hours=int(hour)) for hour in hours],
        }
    )
    session = pl.col("user_id") + pl.col("timestamp").dt.strftime("%j")
    events = events.with_columns(session.alias("session_id")).sort("user_id", "timestamp", "item_id")
    purchases = Purchases.of(events, _Catalogue(), start + timedelta(days=91))  # type: ignore[arg-type]  # a fake
    digest, baskets = hashlib.sha256(), purchases.baskets(items)
    for graph in transitions(purchases, items).values():
        _feed(digest, graph.indptr, graph.indices, graph.weights)
    for table in (repeat(baskets), repeat(baskets, half_life=60.0), follow(baskets, half_life=60.0)):
        _feed_table(digest, table)
    _feed_table(digest, again(baskets, half_life=14.0))
    counts = popularity(purchases, items)
    _feed(digest, counts.buyers, counts.events, counts.repeat_rate)
    _feed(digest, *(values for _, values in sorted(demand(purchases, items).items())))
    sequences = Sequences.of([purchases.rows[purchases.users == user] for user in range(25)], items)
    for decay in (0.0, 0.6, 1.0):
        _feed_table(digest, sequences.pairs(decay))
    _feed(digest, sequences.events(), sequences.taken().toarray())
    kernel = sp.identity(items, dtype=np.float32, format="csr")
    _feed(digest, *(values for _, values in sorted(statistics(sequences, kernel).items())))
    assert digest.hexdigest() == "25c34dbbba26f2479061d99fb6b0b5fe5ffef990ce2bc0f2e330af6364a6adfb"
