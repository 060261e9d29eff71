"""A release's data of its items, loaded as far as the features read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.arrays import FloatArray, RowIndices
from common.errors import BadRelease
from common.release.catalogue import Catalogue
from common.release.item_graph import ItemGraph
from common.release.layout import POPULARITY, VECTOR_OF_ITEM, VECTORS, statistic_file
from common.release.store import Release
from services.ranking.features.word_index import WordIndex

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Unit vectors, one for each distinct text.

    Attributes:
        vectors: float32[texts, width].
        text_of_item: The row of each item's text; shape [items].
    """

    vectors: FloatArray
    text_of_item: npt.NDArray[np.integer[Any]]


class ItemTables:
    """Data of the items by catalogue row, each table loaded on first use and cached.

    Creating a `FeatureSet` loads every table that it reads, so that a release that lacks one is refused at load time.
    """

    def __init__(self, release: Release, catalogue: Catalogue) -> None:
        self._release = release
        self._catalogue = catalogue
        self._loaded: dict[str, object] = {}

    def popularity(self) -> FloatArray:
        """Each item's popularity; shape [items]."""
        return self._load_once("popularity", lambda: self._by_item(POPULARITY))

    def log_prices(self) -> FloatArray:
        """The logarithm of 1 + price of each item, NaN if the release has no price of it; float64[items]."""
        return self._load_once("prices", lambda: _log_prices(self._catalogue.table))

    def popularity_rank(self) -> FloatArray:
        """The share of items that are more popular; shape [items]."""
        return self._load_once("popularity rank", lambda: _share_above(self.popularity()))

    def statistic(self, name: str) -> FloatArray:
        """An item statistic; shape [items]; raises BadRelease if the release does not have it."""
        return self._load_once(f"statistic {name}", lambda: self._by_item(statistic_file(name)))

    def embeddings(self) -> EmbeddingTable:
        """The items' embeddings."""
        return self._load_once("vectors", lambda: EmbeddingTable(self._array(VECTORS), self._by_item(VECTOR_OF_ITEM)))

    def graph(self, name: str) -> ItemGraph:
        """An item graph; raises BadRelease if the release does not have it."""
        return self._load_once(f"graph {name}", lambda: self._graph(name))

    def word_index(self) -> WordIndex:
        """The items' words; raises BadRelease if the release has none, or not those of its items."""
        return self._load_once("words", lambda: WordIndex.load(self._release, len(self._catalogue)))

    def codes(self, column: str) -> RowIndices:
        """A number for each value of a catalogue column, -1 if missing; shape [items]."""
        return self._load_once(f"column {column}", lambda: _codes(self._catalogue.table[column]))

    def has_column(self, column: str) -> bool:
        """Return whether the catalogue has a text column of this name."""
        table = self._catalogue.table
        return column in table.column_names and pa.types.is_string(table.schema.field(column).type)

    def _graph(self, name: str) -> ItemGraph:
        """Map a graph as plain arrays: slices of numpy's memmap type are slow."""
        graph = ItemGraph.from_release(self._release, name)
        return ItemGraph(np.asarray(graph.indptr), np.asarray(graph.indices), np.asarray(graph.weights))

    def _by_item(self, name: str) -> npt.NDArray[Any]:
        array = self._array(name)
        if len(array) != len(self._catalogue):
            items = len(self._catalogue)
            raise BadRelease(
                f"release {self._release.id}: {name} has {len(array)} rows for {items} items; build it again"
            )
        return array

    def _array(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(np.load(self._release.file(name), mmap_mode="r"))  # see `_graph`

    def _load_once(self, key: str, load: Callable[[], T]) -> T:
        if key not in self._loaded:
            self._loaded[key] = load()
        return self._loaded[key]  # type: ignore[return-value]  # the key determines the type


def _log_prices(table: pa.Table) -> FloatArray:
    prices = table["price"].to_numpy() if "price" in table.column_names else np.full(len(table), np.nan)
    return np.asarray(np.log1p(prices.astype(np.float64)))


def _share_above(values: FloatArray) -> FloatArray:
    ordered = np.sort(values)
    return ((len(values) - np.searchsorted(ordered, values, side="right")) / len(values)).astype(np.float32)


def _codes(column: pa.ChunkedArray) -> RowIndices:
    indices = column.combine_chunks().dictionary_encode().indices
    return np.asarray(indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
