"""Neural baselines on planted data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.learning.baselines.neural import NeuralModel, fit_collaborative, fit_sasrec
from pipeline.learning.item_graphs.purchases import Purchases
from services.ranking.request import UserRows

ITEMS = 10
NOBODY = UserRows(np.empty(0, np.int64))
Fit = Callable[[Purchases, int, int], NeuralModel]


def _purchases(sequences: list[list[int]]) -> Purchases:
    rows = [
        (user, user, item, len(items) - at) for user, items in enumerate(sequences) for at, item in enumerate(items)
    ]
    generator = np.random.default_rng(0)
    users, sessions, items, ages = generator.permutation(np.array(rows)).T  # ages tell the order
    return Purchases(users, sessions, items, ages.astype(np.float32))


def _best(model: NeuralModel, *history: int) -> list[int]:
    scores = model.scores(UserRows(np.array(history)))
    assert scores.shape == (ITEMS,)
    return np.argsort(-scores, kind="stable").tolist()


def test_sasrec_learns_what_follows():
    """Items go round in one order: after the last event comes the next item, from any place."""
    generator = np.random.default_rng(1)
    starts = generator.integers(0, 6, 60)
    model = fit_sasrec(_purchases([[(start + step) % 6 for step in range(8)] for start in starts.tolist()]), ITEMS, 3)
    for last in range(6):
        assert _best(model, (last - 1) % 6, last)[0] == (last + 1) % 6


def test_collaborative_filtering_learns_what_goes_together():
    """Users take each item of one of two groups once; after some of a group come the others of it."""
    generator = np.random.default_rng(2)
    taken = [(user % 2 * 4 + generator.permutation(4)).tolist() for user in range(60)]
    model = fit_collaborative(_purchases(taken), ITEMS, 3)
    assert set(_best(model, 0, 1)[:2]) == {2, 3}
    assert set(_best(model, 6)[:3]) == {4, 5, 7}


@pytest.mark.parametrize("fit", [fit_sasrec, fit_collaborative])
def test_items_that_nobody_took_come_last(fit: Fit):
    """They have no embedding; a history without known items, and a shop without purchases, prefer nothing."""
    model = fit(_purchases([[0, 1, 2], [2, 1, 0], [3, 2, 1]]), ITEMS, 0)
    assert set(_best(model, 0)[:4]) == {0, 1, 2, 3}
    for user in (NOBODY, UserRows(np.array([9]))):
        assert not np.ptp(model.scores(user))
    nothing = fit(_purchases([[0]]), ITEMS, 0)
    assert np.isfinite(nothing.scores(UserRows(np.array([0])))).all()


@pytest.mark.parametrize("fit", [fit_sasrec, fit_collaborative])
def test_the_same_seed_gives_the_same_scores(fit: Fit):
    """To the last bit or so: batches and weights are drawn from it."""
    purchases, user = _purchases([[0, 1, 2, 3], [3, 2, 1]]), UserRows(np.array([0, 1]))
    first, again = (fit(purchases, ITEMS, 1).scores(user) for _ in range(2))
    assert np.ptp(first)
    assert np.allclose(first, again)
