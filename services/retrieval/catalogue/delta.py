"""Items added to a release's catalogue since it was built."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from common.arrays import BoolMask, Float32Array, RowIndices
from services.retrieval.catalogue.growable_array import GrowableArray
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.title_postings import TitlePostings
from services.retrieval.index.delta_index import Codes, DeltaIndex, no_codes

# The attributes that an upsert sets; further ones of the release are null for added items.
_GIVEN: Final = frozenset({"brand", "category", "price", "available"})


# Each append makes a chunk, and each computation on a column pays for every chunk.
_MAX_CHUNKS: Final = 64


class DeltaStorage:
    """What the states of the added items share, from one numbering to the next: it only ever grows at its end.

    One writer puts items on it; states read as far as they know of.

    Args:
        dimension: The encoder's.
        codes: Of the release; see `DeltaIndex`.
    """

    def __init__(self, dimension: int, codes: Codes = no_codes) -> None:
        self.items: list[Item] = []
        self.numbers_of: dict[str, list[int]] = {}
        self.vectors = GrowableArray(np.float32, dimension)
        self.origin = GrowableArray(np.int64)
        self.own = GrowableArray(np.bool_)
        self.titles = TitlePostings()
        self.codes = codes
        self.graph = DeltaIndex(dimension, codes)

    def put(self, items: Sequence[Item], vectors: Float32Array, origin: RowIndices, own: BoolMask) -> None:
        """Put items at the end."""
        self.titles.put(len(self.items), [item.title for item in items])
        for number, item in enumerate(items, len(self.items)):
            self.items.append(dataclasses.replace(item, vector=None))
            self.numbers_of.setdefault(item.item_id, []).append(number)
        self.vectors.append(vectors)
        self.origin.append(origin)
        self.own.append(own)


@dataclass(frozen=True, eq=False)
class Delta:
    """One stable state of the added items, in the order they came; numbers count from 0.

    An item that was replaced or deleted keeps its number until `kept` leaves it out; which are there is told by the
    view.

    Attributes:
        shelf: The items, of which those numbered below `len` are in this state.
        table: Their attributes, one row an item.
        vectors: Their embeddings; shape [items, dimension].
        origin: Each item's row in the release's catalogue, -1 where it has none; shape [items].
        own: Which items have a vector of their own; the others have their origin's, and are found by it. Shape [items].
    """

    shelf: DeltaStorage
    table: pa.Table
    vectors: Float32Array
    origin: RowIndices
    own: BoolMask

    def __len__(self) -> int:
        return len(self.origin)

    @property
    def items(self) -> Sequence[Item]:
        """The items by number; those behind `len` came later."""
        return self.shelf.items

    @property
    def graph(self) -> DeltaIndex:
        """The graph over the beginning of the vectors."""
        return self.shelf.graph

    def item_id(self, number: int) -> str:
        """Return the id of an added item."""
        return self.items[number].item_id

    def number_of(self, item_id: str) -> int | None:
        """Return the last number of an item, whether or not it is still there; None where it was never added."""
        numbers = self.shelf.numbers_of.get(item_id, ())
        return next((number for number in reversed(numbers) if number < len(self)), None)

    def extended(self, items: Sequence[Item], vectors: Float32Array, origin: RowIndices, own: BoolMask) -> Delta:
        """Return a state with further items at the end; those of the same id are superseded. For the one writer.

        Costs what the further items cost, however many there are.
        """
        self.shelf.put(items, vectors, origin, own)
        table = pa.concat_tables([self.table, _table(items, self.table.schema)])
        chunks = table.column(0).num_chunks if table.num_columns else 0
        return _state(self.shelf, table if chunks < _MAX_CHUNKS else table.combine_chunks())

    def kept(self, there: BoolMask) -> Delta:
        """Return a state of the items that are ``there`` (shape [items]) alone, numbered anew in the same order."""
        numbers = np.flatnonzero(there)
        shelf = DeltaStorage(self.vectors.shape[1], self.shelf.codes)
        items = [self.items[number] for number in numbers.tolist()]
        shelf.put(items, self.vectors[numbers], self.origin[numbers], self.own[numbers])
        return _state(shelf, self.table.take(numbers).combine_chunks())


def empty_delta(schema: pa.Schema, dimension: int, codes: Codes = no_codes) -> Delta:
    """Return the state before anything was added, to a catalogue with the attributes of ``schema``."""
    return _state(DeltaStorage(dimension, codes), schema.empty_table())


def _state(shelf: DeltaStorage, table: pa.Table) -> Delta:
    return Delta(shelf, table, shelf.vectors.rows, shelf.origin.rows, shelf.own.rows)


def _table(items: Sequence[Item], schema: pa.Schema) -> pa.Table:
    columns = [
        pa.array([_value(item, field.name) for item in items], field.type)
        if field.name in _GIVEN
        else pa.nulls(len(items), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _value(item: Item, name: str) -> Any:
    value = getattr(item, name)
    return None if value == "" else value
