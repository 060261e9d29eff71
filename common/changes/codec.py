"""The encoding of a catalogue change, as far as services without vectors read it.

A change is the length of a JSON object (four bytes, little-endian), the object, and the vectors. The retrieval service
writes it, in `services.retrieval.changes.change`.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from common.text import item_text

_LENGTH: Final = struct.Struct("<I")
_TEXT_FIELDS: Final = ("title", "brand", "category", "description")


def read_head(body: bytes) -> tuple[dict[str, Any], int]:
    """Return a change's JSON object and where its vectors start; raises ValueError or struct.error if invalid."""
    stop = _LENGTH.size + _LENGTH.unpack_from(body)[0]
    return json.loads(body[_LENGTH.size : stop]), stop


def write_head(head: dict[str, Any]) -> bytes:
    """Return the JSON object as `read_head` reads it."""
    text = json.dumps(head, ensure_ascii=False).encode()
    return _LENGTH.pack(len(text)) + text


def read_texts(body: bytes) -> dict[str, str | None]:
    """Return the model text of each item that a change upserts, and None for each that it deletes.

    Raises:
        ValueError, KeyError, TypeError, struct.error: It is no change.
    """
    head, _ = read_head(body)
    texts: dict[str, str | None] = dict.fromkeys(head["deleted"])
    texts |= {item["item_id"]: item_text(*(item[name] for name in _TEXT_FIELDS)) for item in head["items"]}
    return texts
