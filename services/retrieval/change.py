"""One change of the live catalogue, in memory and in bytes."""

from __future__ import annotations

import dataclasses
import json
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from services.retrieval.items import Item
from services.retrieval.vector_index import Floats

_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, eq=False)
class Change:
    """What one call changes: all of it is applied or nothing.

    Attributes:
        items: Items with distinct ids, added or replaced whole.
        vectors: Their unit embeddings; shape [items, dimension].
        encoder: SHA-256 of the encoder's model that `vectors` belong to.
        deleted: Ids of items deleted.
    """

    items: tuple[Item, ...]
    vectors: Floats
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
        text = json.dumps(head, ensure_ascii=False).encode()
        return _LENGTH.pack(len(text)) + text + self.vectors.astype("<f4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Change:
        """Read what `to_bytes` wrote."""
        start = _LENGTH.size
        stop = start + _LENGTH.unpack_from(data)[0]
        head = json.loads(data[start:stop])
        vectors = np.frombuffer(data, dtype="<f4", offset=stop).reshape(len(head["items"]), head["dimension"])
        items = tuple(Item(**fields) for fields in head["items"])
        return cls(items, vectors.astype(np.float32), head["encoder"], tuple(head["deleted"]))


def _fields(item: Item) -> dict[str, Any]:
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item) if field.name != "vector"}
