"""Single methods on planted data."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import NotReady
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import open_release
from pipeline.learning.baselines.methods import BASELINES, FACTORISATIONS, BaselineData
from pipeline.learning.item_graphs.purchases import Purchases
from services.ranking.request import UserRows

NOBODY = UserRows(np.empty(0, np.int64))
GROUP = 4


@pytest.fixture(scope="module")
def known(tiny_release: Path) -> BaselineData:
    """Return forty users of two kinds, who take of two groups of items: those of the second only lately."""
    catalogue = Catalogue.open(open_release(str(tiny_release)).file(CATALOGUE))
    generator = np.random.default_rng(4)
    rows = [
        (user, user * 10 + session, user % 2 * GROUP + item, (0 if user % 2 else 60) + 3 - session)
        for user in range(40)
        for session in range(4)
        for item in generator.choice(GROUP, 2, replace=False).tolist()
    ]
    rows += [(41 + number, 1_000 + number, 0, 60) for number in range(10)]
    users, sessions, items, ages = np.array(rows).T
    return BaselineData(Purchases(users, sessions, items, ages.astype(np.float32)), catalogue, seed=1)


def _best(known: BaselineData, name: str, user: UserRows, count: int = GROUP) -> list[int]:
    scores = np.asarray(BASELINES[name](known).scores(user))
    assert scores.shape == (known.items,)
    return np.argsort(-scores, kind="stable")[:count].tolist()


def test_popular_is_by_buyers(known: BaselineData):
    """The item that ten more users took once comes first, whoever asks."""
    assert _best(known, "popular", NOBODY)[0] == 0
    assert _best(known, "popular", UserRows(np.array([5]))) == _best(known, "popular", NOBODY)


def test_recently_popular_is_by_what_is_bought_now(known: BaselineData):
    """What sold two months ago does not come before what sells today."""
    assert set(_best(known, "recently popular", NOBODY)) == set(range(GROUP, 2 * GROUP))


def test_own_items_come_by_frequency_then_by_what_sells_lately(known: BaselineData):
    """Twice comes before once; among equals, and after them, what sells lately."""
    best = _best(known, "own most frequent", UserRows(np.array([1, 6, 2, 2])))
    assert best[:3] == [2, 6, 1]
    assert best[3] in range(GROUP, 2 * GROUP)


@pytest.mark.parametrize("name", ["transitions", *FACTORISATIONS])
def test_behaviour_finds_the_group_of_the_history(known: BaselineData, name: str):
    """From two items of a group, its four come first: a user is folded in who was never seen."""
    for kind in (0, 1):
        history = np.array([kind * GROUP, kind * GROUP + 1])
        assert set(_best(known, name, UserRows(history))) == set(range(kind * GROUP, (kind + 1) * GROUP))


def test_bm25_reads_the_query_or_the_history(known: BaselineData):
    """The words of the query decide; without one, those of the latest titles."""
    titles = known.catalogue.table["text"].to_pylist()
    by_query = _best(known, "BM25", UserRows(np.array([3]), "red cheese"), 2)
    assert all("red" in titles[row] and "cheese" in titles[row] for row in by_query)
    by_history = _best(known, "BM25", UserRows(np.array([7])), 1)
    assert set(titles[by_history[0]].split()) & set(titles[7].split())
    assert not np.asarray(BASELINES["BM25"](known).scores(UserRows(np.array([3]), "xyzzy"))).any()


def test_a_library_that_is_not_there_is_named(known: BaselineData, monkeypatch: pytest.MonkeyPatch):
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "implicit.als", None)
    with pytest.raises(NotReady, match=r"implicit.*baselines"):
        BASELINES["ALS"](known)
