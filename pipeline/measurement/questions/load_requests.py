"""Requests for a load test, drawn from a release: its items by popularity, histories along its item graphs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.item_graph import ItemGraph
from common.release.layout import CATALOGUE, POPULARITY, RETRIEVAL_SETTINGS
from common.release.store import Release
from pipeline.data.dataset.training_requests import title_query

OCCASIONS: Final = ("history", "query", "both", "new_user")


@dataclass(frozen=True)
class LoadMix:
    """What the requests are like.

    Attributes:
        shares: The share of each occasion; they add up to 1.
        history_items: The mean length of a history; lengths are geometric, as visits' are.
        max_history_items: The longest.
        limit: Items to return.
        follow_share: How often the next item of a history is a neighbour of the one before, and not a popular one.
    """

    shares: Mapping[str, float]
    history_items: float = 20.0
    max_history_items: int = 1_000
    limit: int = 10
    follow_share: float = 0.7

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.shares) - set(OCCASIONS)):
            raise InvalidRequest(f"mix: {unknown[0]!r} is no occasion; they are {', '.join(OCCASIONS)}")
        if any(share < 0 for share in self.shares.values()) or not sum(self.shares.values()) > 0:
            raise InvalidRequest("mix: shares are not negative, and one of them is above 0")
        if self.history_items < 1:
            raise InvalidRequest("history-items: a history has at least one item")


def load_requests(release: Release, mix: LoadMix, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield requests in the JSON form of `RecommendRequest`; the same seed yields the same ones.

    Raises:
        InvalidRequest: No title of the release has a word that could be searched for.
    """
    drawn = _Draws(release, np.random.default_rng(seed))
    names = [name for name in OCCASIONS if mix.shares.get(name)]
    shares = np.array([mix.shares[name] for name in names], dtype=np.float64)
    for occasion in drawn.generator.choice(names, size=count, p=shares / shares.sum()):
        request: dict[str, Any] = {"limit": mix.limit}
        if occasion in {"history", "both"}:
            request["history_item_ids"] = drawn.history(mix)
        if occasion in {"query", "both"}:
            request["query"] = drawn.query()
        yield request


class _Draws:
    """Items and words of a release, each as often as it is popular."""

    def __init__(self, release: Release, generator: np.random.Generator) -> None:
        self.generator = generator
        self._table = Catalogue.open(release.file(CATALOGUE)).table
        popularity = np.load(release.file(POPULARITY)).astype(np.float64)
        # An item that nobody bought is asked for as well, a hundredth as often as the average one.
        weights = popularity + 0.01 * max(float(popularity.mean()), 1e-9)
        self._cumulative = np.cumsum(weights)
        sources = json.loads(release.file(RETRIEVAL_SETTINGS).read_bytes())["sources"]
        self._graphs = [
            ItemGraph.from_release(release, name) for name, source in sources.items() if source["kind"] == "graph"
        ]

    def history(self, mix: LoadMix) -> list[str]:
        """Return ids of items, each often a neighbour of the one before."""
        length = min(mix.max_history_items, int(self.generator.geometric(1 / mix.history_items)))
        rows = [self._popular()]
        while len(rows) < length:
            follows = self._graphs and self.generator.random() < mix.follow_share
            rows.append(self._neighbour(rows[-1]) if follows else self._popular())
        column = self._table["item_id"]
        return [column[row].as_py() for row in rows]

    def query(self) -> str:
        """Return one to three words of a title."""
        for _ in range(1_000):
            title = self._table["title"][self._popular()].as_py()
            if query := title_query(title or "", self.generator):
                return query
        raise InvalidRequest("query: hardly a title of the release has words; leave queries out of the mix")

    def _popular(self) -> int:
        place = self.generator.random() * self._cumulative[-1]
        return min(int(np.searchsorted(self._cumulative, place, side="right")), len(self._cumulative) - 1)

    def _neighbour(self, row: int) -> int:
        graph = self._graphs[int(self.generator.integers(len(self._graphs)))]
        neighbours = graph.indices[graph.indptr[row] : graph.indptr[row + 1]]
        return int(self.generator.choice(neighbours)) if len(neighbours) else self._popular()
