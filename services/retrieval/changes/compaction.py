"""What many changes come down to: the last state of every item that was ever changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from common.arrays import Float32Array
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change import Change

_ITEMS_A_CHANGE: Final = 1_000


class Compaction:
    """The last state of each item: what it is and by which encoder, or that it is gone.

    Args:
        changes: In the order they were made.
    """

    def __init__(self, changes: Iterable[Change]) -> None:
        self._states: dict[str, tuple[Item, Float32Array, str] | None] = {}
        self._statements = 0
        for change in changes:
            self._statements += len(change.items) + len(change.deleted)
            for item, vector in zip(change.items, change.vectors, strict=True):
                self._states[item.item_id] = (item, vector, change.encoder)
            self._states.update(dict.fromkeys(change.deleted))

    def __len__(self) -> int:
        return len(self._states)

    @property
    def superseded(self) -> int:
        """How often an item was changed that was changed again later."""
        return self._statements - len(self._states)

    def changes(self) -> Iterator[Change]:
        """Yield few changes that come down to the same."""
        deleted = [item_id for item_id, state in self._states.items() if state is None]
        there = [state for state in self._states.values() if state is not None]
        for encoder in dict.fromkeys(state[2] for state in there):
            of_encoder = [state for state in there if state[2] == encoder]
            for start in range(0, len(of_encoder), _ITEMS_A_CHANGE):
                part = of_encoder[start : start + _ITEMS_A_CHANGE]
                yield Change(tuple(state[0] for state in part), np.stack([state[1] for state in part]), encoder)
        nothing = np.empty((0, 0), dtype=np.float32)
        for start in range(0, len(deleted), _ITEMS_A_CHANGE):
            yield Change((), nothing, "", tuple(deleted[start : start + _ITEMS_A_CHANGE]))
