"""Answers of the contract as JSON for the page."""

from __future__ import annotations

import math
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

# Fields that hold words of the contract's enums, which the page shows without these prefixes.
_ENUMS: Final = frozenset({"tier", "kind"})
_PREFIXES: Final = ("TIER_", "REASON_KIND_", "DEGRADATION_KIND_")


def fields(message: Message) -> dict[str, Any]:
    """Return a message's fields by name, those without a value left out; words of enums are short and in lower case.

    Numbers of 64 bits are texts, as in the contract's JSON.
    """
    found: dict[str, Any] = _readable(
        MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )
    return found


def _readable(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _readable(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_readable(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no such number
    if isinstance(value, str) and name in _ENUMS:
        prefix = next((prefix for prefix in _PREFIXES if value.startswith(prefix)), "")
        return value.removeprefix(prefix).lower()
    return value
