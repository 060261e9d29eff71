"""What a change of the catalogue says of items' texts, for services that keep no vectors.

A change is the length of a JSON object (four bytes, little-endian), the object, and vectors behind it; the retrieval
service writes it, in `services.retrieval.changes.change`.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from common.text import item_text

_LENGTH: Final = struct.Struct("<I")


_READ: Final = ("title", "brand", "category", "description")


def read_head(body: bytes) -> tuple[dict[str, Any], int]:
    """Return a change's JSON object, and where its vectors begin; raises ValueError or struct.error for another's."""
    stop = _LENGTH.size + _LENGTH.unpack_from(body)[0]
    return json.loads(body[_LENGTH.size : stop]), stop


def write_head(head: dict[str, Any]) -> bytes:
    """Return what `read_head` reads."""
    text = json.dumps(head, ensure_ascii=False).encode()
    return _LENGTH.pack(len(text)) + text


def read_texts(body: bytes) -> dict[str, str | None]:
    """Return what the models read of each item that a change adds or replaces, and None for each that it deletes.

    Raises:
        ValueError, KeyError, TypeError, struct.error: It is no change.
    """
    head, _ = read_head(body)
    texts: dict[str, str | None] = dict.fromkeys(head["deleted"])
    texts |= {item["item_id"]: item_text(*(item[name] for name in _READ)) for item in head["items"]}
    return texts
