"""The items nearest to vectors: the index over the release's texts, and the graph of the items added since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
import structlog

from common.arrays import BoolMask, Float32Array, RowIndices
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems, merged
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.scoring import nearest
from services.retrieval.index.vector_index import Method, VectorIndex
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.search.neighbour_cache import NeighbourCache

Watch = Callable[[Float32Array, int, AllowedItems, ScoredItems], None]


# How vectors were searched; `cached` neighbours were searched for an earlier request.
Path = Method | Literal["cached"]


# Remembered neighbours know no filter, so they are looked through only where most items are allowed; a few more are
# remembered than are asked for, so that enough of them are left.
_MOST: Final = 0.9
_SPARE: Final = 1.25
# Beside remembered neighbours so many added items are compared one by one; past that, codes of all are scanned sooner.
_COMPARED: Final = 1_000
# Vectors without items are walked through for nothing; building a graph anew costs half a millisecond for each that
# is left. Codes without items cost no more than their share of each scan.
_GONE_SHARE: Final = 0.3
_GONE_SHARE_OF_CODES: Final = 0.5
_FEW_GONE: Final = 1_000
# Vectors that the graph does not lead to are compared one by one in every search, 0.1 ms a thousand: past this share of
# them the graph is built anew.
_LOST_SHARE: Final = 0.001
_FEW_LOST: Final = 100


_log = structlog.get_logger()


class ItemSearch:
    """Searches one catalogue view.

    Items added since the release have a graph of their own.

    Args:
        index: Over the release's vectors; labels are their rows.
        vectors: Those vectors, read for items of a history; shape [vectors, dimension].
        items: Which item has which vector.
        cached: How many vectors' neighbours are remembered.

    Attributes:
        watch: Told of each search in which the graph was walked: the query, how many were asked for, what was allowed,
            and what was found. None for nobody.
    """

    def __init__(self, index: VectorIndex, vectors: Float32Array, items: ItemVectors, cached: int) -> None:
        self._vectors = vectors
        self._items = items
        self._joined = items  # and those added, as far as there was need
        self._cached = cached
        self.watch: Watch | None = None
        self._neighbours = NeighbourCache(index, vectors, cached)
        self._built_for_lost = False

    @property
    def index(self) -> VectorIndex:
        """The index over the release's vectors, or over those of them that still have items."""
        return self._neighbours.index

    def codes(self) -> HybridIndex | None:
        """Return the index over the release's vectors where codes of added items can stand behind its own."""
        index = self.index
        return index if isinstance(index, HybridIndex) and not index.is_graph else None

    def tend(
        self, view: Snapshot, let_go: Callable[[], BoolMask], between: Callable[[], object] = lambda: None
    ) -> bool:
        """Build the index anew, where vectors that lost their items, or that the graph lost, are a share worth it.

        For one thread at a time; searches go on with the index there was. Returns whether it was due. An index of
        another kind than `HybridIndex` looks after itself.

        Args:
            view: The catalogue as it is.
            let_go: Gives up vectors that lost their items, and returns which items of the release keep theirs.
            between: Called again and again while the index is built, for what must not wait for that.
        """
        index = self.index
        if not isinstance(index, HybridIndex):
            return False
        if self._has_lost_many(index):
            self._built_for_lost = True
        elif not self._many_are_gone(index, view):
            return False
        there = np.flatnonzero(self._items.with_items(let_go()))
        self._neighbours = NeighbourCache(
            index.without_removed(there, self._vectors, between), self._vectors, self._cached
        )
        _log.info("graph built anew", vectors=len(there), left_out=len(index) - len(there), lost=index.unreachable)
        return True

    def audit(self, view: Snapshot, count: int) -> bool:
        """Search for ``count`` vectors of the graphs by themselves, and see to those that are not found.

        For one thread at a time. Returns whether any are left to be audited.
        """
        for name, index in self._graphs(view).items():
            if index.audit_due:
                lost = index.audit(count)
                if name == "release" and len(lost):  # what was remembered knows nothing of these
                    self._neighbours = NeighbourCache(index, self._vectors, self._cached)
                if index.unreachable and not index.audit_due:
                    _log.warning(
                        "the graph does not lead to all vectors", graph=name, vectors=len(index), lost=index.unreachable
                    )
                return True
        return False

    def unreachable(self, view: Snapshot) -> int:
        """Return how many vectors are known that the graphs do not lead to."""
        return sum(index.unreachable for index in self._graphs(view).values())

    def audit_due(self, view: Snapshot) -> int:
        """Return how many vectors of the graphs are yet to be audited."""
        return sum(index.audit_due for index in self._graphs(view).values())

    def search(self, queries: Float32Array, k: int, allowed: AllowedItems) -> tuple[list[ScoredItems], Path | None]:
        """Find the ``k`` allowed items nearest to each query.

        Args:
            queries: Unit vectors; shape [n, dimension].
            k: How many at most.
            allowed: The items that may be found.

        Returns:
            One result a query, and how the index searched; None where it did not have to.
        """
        path: Path | None
        if allowed.view.added.graph.joined and allowed.added.any():
            founds, path = self._search_joined(queries, k, allowed)
        else:
            of_base, path = self._search_base(queries, k, allowed)
            founds = self._with_added(of_base, queries, k, allowed)
        if path == "approximate" and self.watch is not None:
            for query, found in zip(queries, founds, strict=True):
                self.watch(query, k, allowed, found)
        return founds, path

    def exact(self, query: Float32Array, k: int, allowed: AllowedItems) -> ScoredItems:
        """Find the ``k`` allowed items nearest to a query by comparing every one; shape [dimension]."""
        labels, scores = nearest(self._vectors, query[np.newaxis], k, allowed.vectors)
        released = self._items_of(labels, scores, k, allowed)[0]
        numbers, scores = nearest(allowed.view.added.vectors, query[np.newaxis], k, allowed.added)
        return merged([released, ScoredItems(len(allowed.view.base) + numbers[0], scores[0])], k)

    def set_ef_search(self, ef_search: int, view: Snapshot) -> None:
        """Change the length of the candidate list of the graphs."""
        if isinstance(self.index, HybridIndex):
            self.index.ef_search = ef_search
        view.added.graph.set_ef_search(ef_search)

    def around(self, rows: RowIndices, k: int, allowed: AllowedItems) -> tuple[list[ScoredItems], Path | None]:
        """Find the ``k`` allowed items nearest to each of the items ``rows``, itself included; see `search`."""
        queries = self.of(allowed.view, rows)
        released = allowed.view.released(rows)
        many_added = allowed.view.added.graph.joined and len(allowed.view.added) > _COMPARED
        if allowed.count < _MOST * allowed.view.items or (released < 0).any() or many_added:
            return self.search(queries, k, allowed)
        near = self._neighbours.of(self._items.vector_of_item[released], int(_SPARE * k))
        of_base = [self._items_of(found.rows[None], found.scores[None], k, allowed)[0] for found in near]
        there = len(allowed.view.base) if allowed.released is None else int(np.count_nonzero(allowed.released))
        if any(len(found.rows) < min(k, there) for found in of_base):
            return self.search(queries, k, allowed)
        return self._with_added(of_base, queries, k, allowed), "cached"

    def of(self, view: Snapshot, rows: RowIndices) -> Float32Array:
        """Return the vectors of items; shape [rows, dimension]."""
        base = rows < len(view.base)
        vectors = np.empty((len(rows), self.index.dimension), dtype=np.float32)
        vectors[base] = self._vectors[self._items.vector_of_item[rows[base]]]
        vectors[~base] = view.added.vectors[rows[~base] - len(view.base)]
        return vectors

    def _graphs(self, view: Snapshot) -> dict[str, HybridIndex]:
        released = {"release": self.index} if isinstance(self.index, HybridIndex) else {}
        return released | {"added": view.added.graph.index}

    def _has_lost_many(self, index: HybridIndex) -> bool:
        """Tell whether to build the graph anew for what it does not lead to; once, for it may come out no better."""
        return not self._built_for_lost and index.unreachable > max(_FEW_LOST, _LOST_SHARE * len(index))

    def _many_are_gone(self, index: HybridIndex, view: Snapshot) -> bool:
        stand_in = view.stand_in
        if stand_in is None:
            return False
        share = _GONE_SHARE if index.is_graph else _GONE_SHARE_OF_CODES
        many, found = max(_FEW_GONE, share * len(index)), stand_in >= 0
        if len(found) - np.count_nonzero(found) <= many:  # no more vectors are gone than items are
            return False
        return len(index) - int(np.count_nonzero(self._items.with_items(found))) > many

    def _search_joined(self, queries: Float32Array, k: int, allowed: AllowedItems) -> tuple[list[ScoredItems], Path]:
        """Find the nearest of the release's items and of those added, whose codes are scanned together."""
        added, joined = allowed.view.added, allowed.joined
        hits = added.graph.search(added.vectors, queries, k, joined.vectors)
        items = self._with_room(len(joined.vectors))
        return items.fan_out(hits.labels, hits.scores, k, joined.items, allowed.view.found_as), hits.method

    def _with_room(self, count: int) -> ItemVectors:
        """Return which item has which vector, of ``count`` vectors at least."""
        joined = self._joined
        if joined.count < count:
            joined = self._joined = self._items.and_further(2 * (count - self._items.count))
        return joined

    def _search_base(
        self, queries: Float32Array, k: int, allowed: AllowedItems
    ) -> tuple[list[ScoredItems], Path | None]:
        if allowed.vectors is not None and not allowed.vectors.any():
            return [NOTHING] * len(queries), None
        hits = self.index.search(queries, k, allowed.vectors)
        return self._items_of(hits.labels, hits.scores, k, allowed), hits.method

    def _items_of(self, labels: RowIndices, scores: Float32Array, k: int, allowed: AllowedItems) -> list[ScoredItems]:
        """Return the first ``k`` allowed items of each row of the release's vectors, as the rows they are now."""
        return self._items.fan_out(labels, scores, k, allowed.released, allowed.view.stand_in)

    def _with_added(
        self, of_base: list[ScoredItems], queries: Float32Array, k: int, allowed: AllowedItems
    ) -> list[ScoredItems]:
        """Join what was found among the release's items with the nearest of those added since."""
        base, added, passing = len(allowed.view.base), allowed.view.added, allowed.added
        if not passing.any():
            return of_base
        if added.graph.joined:
            rows, scores = nearest(added.vectors, queries, k, passing)
        else:
            rows, scores, _ = added.graph.search(added.vectors, queries, k, passing)
        of_added = map(ScoredItems, base + rows, scores)
        return [merged(founds, k) for founds in zip(of_base, of_added, strict=True)]
