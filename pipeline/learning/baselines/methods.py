"""Baseline recommenders, each a single method.

Like the gateway, they answer by history or query. Matrix factorisation folds a user in from the history, so users need
not be known when the factors are fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from common.arrays import Float32Array
from common.errors import NotReady
from common.release.catalogue import Catalogue
from pipeline.learning.baselines.neural import NeuralModel, fit_collaborative, fit_sasrec
from pipeline.learning.item_graphs.purchases import Purchases, popularity, transition_table
from services.ranking.request import UserRows

# Chosen on Online Retail's validation window, by NDCG@10.
RECENT_HALF_LIFE_DAYS: Final = 7.0
HISTORY_HALF_LIFE: Final = 150.0
_ALS: Final = {"factors": 64, "regularization": 0.05, "alpha": 10.0, "iterations": 15}
_BPR: Final = {"factors": 64, "regularization": 0.01, "learning_rate": 0.05, "iterations": 100}
_MAX_TITLES: Final = 10
_TIE_BREAK: Final = 0.5


@dataclass(frozen=True, eq=False)
class BaselineData:
    """The data that baselines are fitted to: everything before the questions.

    Attributes:
        purchases: Earlier purchases, with ages.
        catalogue: The items.
        seed: Seed of factors.
    """

    purchases: Purchases
    catalogue: Catalogue
    seed: int

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.catalogue)

    def recent_sales(self) -> Float32Array:
        """Return the number of baskets with each item, recent ones weighted more; float32[items]."""
        baskets = self.purchases.baskets(self.items)
        return np.asarray(baskets.held.T @ baskets.weights(RECENT_HALF_LIFE_DAYS), np.float32)

    def taken(self) -> sp.csr_matrix:
        """Return how often each user took each item; sparse [users, items]."""
        ones = np.ones(len(self.purchases.rows), np.float32)
        shape = (int(self.purchases.users.max(initial=-1)) + 1, self.items)
        return sp.csr_matrix((ones, (self.purchases.users, self.purchases.rows)), shape=shape)


class Baseline(Protocol):
    """A recommender by one method."""

    def scores(self, user: UserRows) -> npt.NDArray[Any]:
        """Return a score for each item of the catalogue, higher is better; float [items]."""
        ...


@dataclass(frozen=True, eq=False)
class FixedScores:
    """The same items for everybody."""

    values: Float32Array

    def scores(self, _: UserRows) -> Float32Array:
        """See `Baseline`."""
        return self.values


@dataclass(frozen=True, eq=False)
class OwnItems:
    """The user's most frequent items, ties by recent sales; then other items by recent sales."""

    recent_sales: Float32Array

    def scores(self, user: UserRows) -> npt.NDArray[Any]:
        """See `Baseline`."""
        tie = self.recent_sales / max(float(self.recent_sales.max(initial=0.0)), 1e-9) * _TIE_BREAK
        return np.bincount(user.history, minlength=len(tie)) + tie


@dataclass(frozen=True, eq=False)
class ItemTransitions:
    """Transitions from item to item, repeats included; recent events are weighted more."""

    table: sp.csr_matrix

    def scores(self, user: UserRows) -> npt.NDArray[Any]:
        """See `Baseline`."""
        age = np.arange(len(user.history) - 1, -1, -1)
        weights = np.bincount(user.history, 0.5 ** (age / HISTORY_HALF_LIFE), minlength=self.table.shape[0])
        return np.asarray(weights @ self.table)


@dataclass(frozen=True, eq=False)
class FactorModel:
    """Matrix factorisation: items' factors, and how a history is folded in.

    Attributes:
        items: float32[items, width].
        fold_in: Returns a user's factors, shape [width], from item counts, sparse [1, items].
    """

    items: Float32Array
    fold_in: Callable[[sp.csr_matrix], Float32Array]

    def scores(self, user: UserRows) -> npt.NDArray[Any]:
        """See `Baseline`."""
        rows, counts = np.unique(user.history, return_counts=True)
        held = sp.csr_matrix((counts.astype(np.float32), (np.zeros(len(rows), int), rows)), (1, len(self.items)))
        return np.asarray(self.items @ self.fold_in(held))


@dataclass(frozen=True, eq=False)
class Bm25Model:
    """BM25 over the items' texts: the query's words, or those of the latest distinct titles of the history."""

    index: Any
    texts: list[str]
    split: Callable[[str], list[str]]

    def scores(self, user: UserRows) -> npt.NDArray[Any]:
        """See `Baseline`."""
        latest = list(dict.fromkeys(user.history[::-1].tolist()))[:_MAX_TITLES]
        words = self.split(user.query or " ".join(self.texts[row] for row in latest))
        known = [word for word in words if word in self.index.vocab_dict]
        return np.asarray(self.index.get_scores(known)) if known else np.zeros(len(self.texts), np.float32)


def popular(known: BaselineData) -> FixedScores:
    """Rank by distinct buyers."""
    return FixedScores(popularity(known.purchases, known.items).buyers)


def recently_popular(known: BaselineData) -> FixedScores:
    """Rank by baskets, with a half-life of seven days."""
    return FixedScores(known.recent_sales())


def own_items(known: BaselineData) -> OwnItems:
    """Rank the user's earlier items by frequency."""
    return OwnItems(known.recent_sales())


def item_transitions(known: BaselineData) -> ItemTransitions:
    """Count the items of the same user's next baskets; see `behaviour.transitions`."""
    return ItemTransitions(transition_table(known.purchases.baskets(known.items)))


def als(known: BaselineData) -> FactorModel:
    """Implicit alternating least squares (Hu, Koren and Volinsky, ICDM 2008); a user is folded in by its own step."""
    module = _installed("implicit.als")
    with threadpool_limits(1, "blas"):  # with more threads implicit warns, and is slower
        model = module.AlternatingLeastSquares(**_ALS, random_state=known.seed, num_threads=1)
        model.fit(known.taken(), show_progress=False)
    return FactorModel(model.item_factors, lambda held: model.recalculate_user(0, held))


def bpr(known: BaselineData) -> FactorModel:
    """Bayesian personalised ranking (Rendle et al., UAI 2009); a user is the mean of the history's items."""
    module = _installed("implicit.bpr")
    model = module.BayesianPersonalizedRanking(**_BPR, random_state=known.seed, num_threads=1)
    model.fit(known.taken(), show_progress=False)

    def fold_in(held: sp.csr_matrix) -> Float32Array:
        total = np.asarray(held @ model.item_factors, np.float32).ravel()
        factors: Float32Array = total / np.float32(max(float(held.sum()), 1.0))
        factors[-1] = 1.0  # the items' bias
        return factors

    return FactorModel(model.item_factors, fold_in)


def bm25(known: BaselineData) -> Bm25Model:
    """Okapi BM25 (Robertson et al., TREC-3) by bm25s."""
    module = _installed("bm25s")

    def split(text: str) -> list[str]:
        words: list[str] = module.tokenize(text, stopwords=None, return_ids=False, show_progress=False)[0]
        return words

    texts = known.catalogue.table["text"].to_pylist()
    index = module.BM25()
    index.index([split(text) for text in texts], show_progress=False)
    return Bm25Model(index, texts, split)


def sasrec(known: BaselineData) -> NeuralModel:
    """Self-attention over the history (SASRec; Kang and McAuley, ICDM 2018)."""
    return fit_sasrec(known.purchases, known.items, known.seed)


def collaborative(known: BaselineData) -> NeuralModel:
    """Neural collaborative filtering (He et al., WWW 2017)."""
    return fit_collaborative(known.purchases, known.items, known.seed)


BASELINES: Final[Mapping[str, Callable[[BaselineData], Baseline]]] = {
    "popular": popular,
    "recently popular": recently_popular,
    "own most frequent": own_items,
    "transitions": item_transitions,
    "ALS": als,
    "BPR": bpr,
    "SASRec": sasrec,
    "NCF": collaborative,
    "BM25": bm25,
}
FACTORISATIONS: Final = ("ALS", "BPR")


def _installed(module: str) -> Any:
    from importlib import import_module  # noqa: PLC0415 - only baselines need what it imports

    try:
        return import_module(module)
    except ImportError as error:
        raise NotReady(f"this baseline needs {module.partition('.')[0]}: pip install '.[baselines]'") from error
