"""Items added since the release was built."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from common.arrays import BoolMask, Float32Array, RowIndices
from common.text import title_words
from services.retrieval.catalogue.growable_array import GrowableArray
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.title_postings import TitlePostings
from services.retrieval.catalogue.word_table import WordTable

# The attributes that an upsert sets; others of the release are null for added items.
_UPSERTED: Final = frozenset({"brand", "category", "price", "available"})
# Each append adds a chunk, and each computation on a column costs something per chunk.
_MAX_CHUNKS: Final = 64


class DeltaStorage:
    """What all states of a delta share until the next compaction. It only grows, at its end.

    One writer appends; each state reads as far as its own length.

    Args:
        dimension: The encoder's.

    Attributes:
        words: Every word of the items' texts.
        title_words: The words of their titles that are letters alone.
    """

    def __init__(self, dimension: int) -> None:
        self.items: list[Item] = []
        self.rows_by_id: dict[str, list[int]] = {}
        self.vectors = GrowableArray(np.float32, dimension)
        self.origin = GrowableArray(np.int64)
        self.has_own_vector = GrowableArray(np.bool_)
        self.titles = TitlePostings()
        self.words: set[str] = set()
        self.title_words = WordTable()

    def append(
        self, items: Sequence[Item], vectors: Float32Array, origin: RowIndices, has_own_vector: BoolMask
    ) -> None:
        """Append items; see `Delta` for the arrays."""
        titles = [item.title for item in items]
        self.titles.append(len(self.items), titles)
        self.title_words.append(word for title in titles for word in title_words(title) if word.isalpha())
        self.words.update(word for item in items for word in title_words(item.text))
        for row, item in enumerate(items, len(self.items)):
            self.items.append(dataclasses.replace(item, vector=None))
            self.rows_by_id.setdefault(item.item_id, []).append(row)
        self.vectors.append(vectors)
        self.origin.append(origin)
        self.has_own_vector.append(has_own_vector)


@dataclass(frozen=True, eq=False)
class Delta:
    """One stable state of the added items, in the order in which they came; its rows count from 0.

    An item that was replaced or deleted keeps its row until a compaction; `Snapshot.is_live` has those that are there.

    Attributes:
        storage: The items, of which the first `len` are in this state.
        table: Their attributes, one row per item.
        vectors: Their embeddings; shape [items, dimension].
        origin: Each item's row in the release's catalogue, -1 if it has none; shape [items].
        has_own_vector: Which items have another vector than their origin, shape [items]. The others, with a new price
            for example, are found by their origin's vector.
    """

    storage: DeltaStorage
    table: pa.Table
    vectors: Float32Array
    origin: RowIndices
    has_own_vector: BoolMask

    def __len__(self) -> int:
        return len(self.origin)

    @property
    def items(self) -> Sequence[Item]:
        """The items by row; those from `len` on came later."""
        return self.storage.items

    def item_id(self, row: int) -> str:
        """Return the id of an added item."""
        return self.items[row].item_id

    def last_row_of(self, item_id: str) -> int | None:
        """Return the last row of an item, live or not; None if it was never added."""
        rows = self.storage.rows_by_id.get(item_id, ())
        return next((row for row in reversed(rows) if row < len(self)), None)

    def extended(
        self, items: Sequence[Item], vectors: Float32Array, origin: RowIndices, has_own_vector: BoolMask
    ) -> Delta:
        """Return a state with more items at the end; earlier rows of the same ids are superseded. For the one writer.

        The cost is that of the new items, however many there are already.
        """
        self.storage.append(items, vectors, origin, has_own_vector)
        table = pa.concat_tables([self.table, _table(items, self.table.schema)])
        chunks = table.column(0).num_chunks if table.num_columns else 0
        return _state(self.storage, table if chunks < _MAX_CHUNKS else table.combine_chunks())

    def compacted(self, is_live: BoolMask) -> Delta:
        """Return a delta of the live rows only, renumbered in the same order, with storage of its own.

        Args:
            is_live: Which rows to keep; shape [items].
        """
        rows = np.flatnonzero(is_live)
        storage = DeltaStorage(self.vectors.shape[1])
        items = [self.items[row] for row in rows.tolist()]
        storage.append(items, self.vectors[rows], self.origin[rows], self.has_own_vector[rows])
        return _state(storage, self.table.take(rows).combine_chunks())


def empty_delta(schema: pa.Schema, dimension: int) -> Delta:
    """Return a delta without items, for a catalogue with the attributes of ``schema``."""
    return _state(DeltaStorage(dimension), schema.empty_table())


def _state(storage: DeltaStorage, table: pa.Table) -> Delta:
    return Delta(storage, table, storage.vectors.rows, storage.origin.rows, storage.has_own_vector.rows)


def _table(items: Sequence[Item], schema: pa.Schema) -> pa.Table:
    columns = [
        pa.array([_value(item, field.name) for item in items], field.type)
        if field.name in _UPSERTED
        else pa.nulls(len(items), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _value(item: Item, name: str) -> Any:
    value = getattr(item, name)
    return None if value == "" else value
