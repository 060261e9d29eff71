"""Log compaction: reduces many changes to the last state of every item that was ever changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from common.arrays import Float32Array
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change import Change

_MAX_ITEMS: Final = 1_000  # in one compacted change


class _ItemState(NamedTuple):
    """The last state of an item that was upserted."""

    item: Item
    vector: Float32Array
    encoder: str


class Compaction:
    """The last state of each item: the item, its vector and encoder, or that it is deleted.

    Args:
        changes: In the order they were made.
    """

    def __init__(self, changes: Iterable[Change]) -> None:
        self._states: dict[str, _ItemState | None] = {}
        self._operations = 0
        for change in changes:
            self._operations += len(change.items) + len(change.deleted)
            for item, vector in zip(change.items, change.vectors, strict=True):
                self._states[item.item_id] = _ItemState(item, vector, change.encoder)
            self._states.update(dict.fromkeys(change.deleted))

    def __len__(self) -> int:
        return len(self._states)

    @property
    def superseded(self) -> int:
        """How many upserts and deletions a later one of the same item superseded."""
        return self._operations - len(self._states)

    def changes(self) -> Iterator[Change]:
        """Yield the fewest changes with the same effect, each of at most 1,000 items."""
        deleted = [item_id for item_id, state in self._states.items() if state is None]
        upserted = [state for state in self._states.values() if state is not None]
        for encoder in dict.fromkeys(state.encoder for state in upserted):
            of_encoder = [state for state in upserted if state.encoder == encoder]
            for start in range(0, len(of_encoder), _MAX_ITEMS):
                part = of_encoder[start : start + _MAX_ITEMS]
                yield Change(tuple(state.item for state in part), np.stack([state.vector for state in part]), encoder)
        no_vectors = np.empty((0, 0), dtype=np.float32)
        for start in range(0, len(deleted), _MAX_ITEMS):
            yield Change((), no_vectors, "", tuple(deleted[start : start + _MAX_ITEMS]))
