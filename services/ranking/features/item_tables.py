"""What a release knows of its items for the features, loaded as far as the features read it."""

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
class ItemVectors:
    """Unit vectors, one for each distinct text.

    Attributes:
        vectors: float32[texts, width].
        of_item: The text of each item; shape [items].
    """

    vectors: FloatArray
    of_item: npt.NDArray[np.integer[Any]]


class ItemTables:
    """Facts of the items by catalogue row, each loaded when first asked for and kept.

    Everything is asked for while a server loads, so that a release that lacks a part is refused then.
    """

    def __init__(self, release: Release, catalogue: Catalogue) -> None:
        self._release = release
        self._catalogue = catalogue
        self._kept: dict[str, object] = {}

    def popularity(self) -> FloatArray:
        """How much each item is wanted; shape [items]."""
        return self._keep("popularity", lambda: self._by_item(POPULARITY))

    def popularity_rank(self) -> FloatArray:
        """Share of the items that are more popular; shape [items]."""
        return self._keep("popularity rank", lambda: _share_above(self.popularity()))

    def statistic(self, name: str) -> FloatArray:
        """An item statistic; shape [items]; raises BadRelease where the release has none of this name."""
        return self._keep(f"statistic {name}", lambda: self._by_item(statistic_file(name)))

    def vectors(self) -> ItemVectors:
        """The items' vectors."""
        return self._keep("vectors", lambda: ItemVectors(self._array(VECTORS), self._by_item(VECTOR_OF_ITEM)))

    def graph(self, name: str) -> ItemGraph:
        """An item graph; raises BadRelease where the release has none of this name."""
        return self._keep(f"graph {name}", lambda: self._graph(name))

    def lexicon(self) -> WordIndex:
        """The items' words; raises BadRelease where the release has none, or not those of its items."""
        return self._keep("lexicon", lambda: WordIndex.load(self._release, len(self._catalogue)))

    def codes(self, column: str) -> RowIndices:
        """A number for each value of a catalogue column, -1 where missing; shape [items]."""
        return self._keep(f"column {column}", lambda: _codes(self._catalogue.table[column]))

    def has_column(self, column: str) -> bool:
        """Tell whether the catalogue has a column of text."""
        table = self._catalogue.table
        return column in table.column_names and pa.types.is_string(table.schema.field(column).type)

    def _graph(self, name: str) -> ItemGraph:
        """Map a graph as plain arrays: numpy's memmap type slows every slice down."""
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
        array: npt.NDArray[Any] = np.load(self._release.file(name), mmap_mode="r")
        return array

    def _keep(self, key: str, load: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = load()
        return self._kept[key]  # type: ignore[return-value]  # the key says what was loaded


def _share_above(values: FloatArray) -> FloatArray:
    ordered = np.sort(values)
    return ((len(values) - np.searchsorted(ordered, values, side="right")) / len(values)).astype(np.float32)


def _codes(column: pa.ChunkedArray) -> RowIndices:
    indices = column.combine_chunks().dictionary_encode().indices
    return np.asarray(indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
