"""One change of the live catalogue, in memory and as bytes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.arrays import Float32Array
from common.changes.codec import read_head, write_head
from services.retrieval.catalogue.item import Item


@dataclass(frozen=True, eq=False)
class Change:
    """The change of one call, applied as a whole or not at all.

    Attributes:
        items: Items with distinct ids, to be added or replaced whole.
        vectors: Their unit embeddings; shape [items, dimension].
        encoder: SHA-256 of the encoder model that made `vectors`.
        deleted: Ids of items to delete.
    """

    items: tuple[Item, ...]
    vectors: Float32Array
    encoder: str
    deleted: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the change as bytes: the length of a JSON object, the object, and the vectors in float32."""
        head = {
            "items": [_fields(item) for item in self.items],
            "dimension": self.vectors.shape[1],
            "encoder": self.encoder,
            "deleted": self.deleted,
        }
        return write_head(head) + self.vectors.astype("<f4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Change:
        """Read what `to_bytes` wrote."""
        head, stop = read_head(data)
        vectors = np.frombuffer(data, dtype="<f4", offset=stop).reshape(len(head["items"]), head["dimension"])
        items = tuple(Item(**fields) for fields in head["items"])
        return cls(items, vectors.astype(np.float32), head["encoder"], tuple(head["deleted"]))


def _fields(item: Item) -> dict[str, Any]:
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item) if field.name != "vector"}
