"""The catalogue of a release: a memory-mapped Arrow file with one row per item."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.errors import BadRelease

# `text` is what the models read (common.text.item_text). `token_ids` are its tokens for the cross-encoder, without
# special tokens, truncated to the most that the cross-encoder reads of an item.
SCHEMA: Final = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("brand", pa.string()),
        pa.field("category", pa.string()),
        pa.field("description", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("language", pa.string()),
        pa.field("available", pa.bool_(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
    ]
)

# Columns that filters cannot use.
_INTERNAL: Final = frozenset({"item_id", "title", "description", "text", "token_ids"})


class Catalogue:
    """Items by row (0 to ``len`` - 1) and by id. Columns beyond those of SCHEMA are attributes too.

    Attributes:
        table: The Arrow table.
        item_ids: The items' ids by row.
        tokens: The token ids of all items, concatenated; shape [tokens].
        token_offsets: Where each item's token ids start, and where the last one's end; shape [items + 1].
    """

    def __init__(self, table: pa.Table) -> None:
        missing = set(SCHEMA.names) - set(table.column_names)
        if missing:
            raise BadRelease(f"the catalogue lacks the columns {', '.join(sorted(missing))}; build the release again")
        self.table = table.combine_chunks()
        self.item_ids: list[str] = self.table["item_id"].to_pylist()
        self._row_of = {item_id: row for row, item_id in enumerate(self.item_ids)}
        if len(self._row_of) != len(self.item_ids):
            raise BadRelease("the catalogue has an item id more than once; build the release again")
        tokens = self.table["token_ids"].combine_chunks()
        self.token_offsets: npt.NDArray[np.int32] = tokens.offsets.to_numpy()
        self.tokens: npt.NDArray[np.int32] = tokens.values.to_numpy()

    @classmethod
    def open(cls, file: Path) -> Catalogue:
        """Map the catalogue at ``file``; raises BadRelease if it is not an Arrow file."""
        try:
            with pa.memory_map(str(file)) as source:
                return cls(pa.ipc.open_file(source).read_all())
        except (pa.ArrowInvalid, OSError) as error:
            raise BadRelease(f"{file} cannot be read as an Arrow file: {error}") from error

    def save(self, file: Path) -> None:
        """Write the catalogue as an Arrow file."""
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, self.table.schema) as writer:
            writer.write_table(self.table)

    def __len__(self) -> int:
        return len(self.item_ids)

    def row_of(self, item_id: str) -> int | None:
        """Return the row of an item, None if unknown."""
        return self._row_of.get(item_id)

    def rows_of(self, item_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the rows of items, -1 if unknown; shape [len(item_ids)]."""
        return np.fromiter(map(self._row_of.get, item_ids, repeat(-1)), np.int64, len(item_ids))

    def text(self, row: int) -> str:
        """Return the text that the models read of an item."""
        return str(self.table["text"][row].as_py())

    def title(self, row: int) -> str:
        """Return an item's title."""
        return str(self.table["title"][row].as_py())

    def token_ids(self, row: int) -> npt.NDArray[np.int32]:
        """Return an item's tokens for the cross-encoder, without special tokens; a view, shape [tokens]."""
        start, stop = self.token_offsets[row : row + 2]
        return self.tokens[start:stop]

    def attributes(self) -> list[str]:
        """Return the names of the attributes that filters can use."""
        return [name for name in self.table.column_names if name not in _INTERNAL]
