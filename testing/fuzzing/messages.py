"""Random messages of any type of the contract, valid or not, and their bytes."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_Field = FieldDescriptor
_MAX_DEPTH: Final = 14
_TEXTS: Final = (
    "",
    " ",
    "\0",
    "a\0b",
    "é",
    "名前",
    "🙂" * 3,
    "\u202eabc",
    "%s%n{0}",
    "'; --",
    "../..",
    "NaN",
    "1_0",
    "٣",
)
_LENGTHS: Final = (0, 1, 1, 1, 2, 3, 7, 32, 33, 300)
_LONG_TEXTS: Final = (129, 1_025, 2_001, 70_000)
_DOUBLES: Final = (0.0, -0.0, 1.0, 0.5, -1.0, 1e-310, 1e308, -1e308, float("inf"), float("-inf"), float("nan"))
_INTEGER_BITS: Final = {
    _Field.TYPE_INT32: (31, True),
    _Field.TYPE_SINT32: (31, True),
    _Field.TYPE_SFIXED32: (31, True),
    _Field.TYPE_INT64: (63, True),
    _Field.TYPE_SINT64: (63, True),
    _Field.TYPE_SFIXED64: (63, True),
    _Field.TYPE_UINT32: (32, False),
    _Field.TYPE_FIXED32: (32, False),
    _Field.TYPE_UINT64: (64, False),
    _Field.TYPE_FIXED64: (64, False),
}


class MessageGenerator:
    """Generates messages from a source of random numbers; the same source gives the same messages.

    Args:
        chosen: The source.
        words: Texts that mean something to the server, such as ids and names of attributes.
    """

    def __init__(self, chosen: random.Random, words: Sequence[str]) -> None:
        self._chosen = chosen
        self._words = words

    def message(self, kind: Descriptor, depth: int = 0) -> Message:
        """Return a message of a type."""
        message: Message = message_factory.GetMessageClass(kind)()
        share = self._chosen.choice((0.2, 0.5, 0.9))
        for field in kind.fields:
            if self._chosen.random() < share:
                self._set(message, field, depth)
        return message

    def wire_bytes(self, kind: Descriptor) -> bytes:
        """Return the bytes of a message; a tenth of them damaged."""
        content = self.message(kind).SerializeToString()
        return content if self._chosen.random() < 0.9 else self.damaged(content)  # noqa: PLR2004 - a tenth

    def damaged(self, content: bytes) -> bytes:
        """Return bytes with a part cut off, replaced, repeated or added."""
        at = self._chosen.randrange(len(content) + 1)
        noise = self._chosen.randbytes(self._chosen.choice((1, 2, 8, 100)))
        match self._chosen.randrange(4):
            case 0:
                return content[:at]
            case 1:
                return content[:at] + noise + content[at + len(noise) :]
            case 2:
                return content[:at] + content[at // 2 :]
            case _:
                return content[:at] + noise + content[at:]

    def text(self) -> str:
        """Return a text: mostly a word, sometimes an odd or long one."""
        draw = self._chosen.random()
        if draw < 0.6 and self._words:  # noqa: PLR2004 - mostly
            return self._chosen.choice(self._words)
        if draw < 0.9:  # noqa: PLR2004
            return self._chosen.choice(_TEXTS)
        if draw < 0.98:  # noqa: PLR2004
            return "".join(chr(self._chosen.randrange(1, 0xD7FF)) for _ in range(self._chosen.randrange(40)))
        return self._chosen.choice("aé ") * self._chosen.choice(_LONG_TEXTS)

    def _set(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is not None and depth >= _MAX_DEPTH:
            return
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._set_map(message, field, field.message_type)
        elif field.is_repeated:
            values = getattr(message, field.name)
            length = self._chosen.choice(_LENGTHS) if depth == 0 else self._chosen.choice((0, 1, 1, 2, 3))
            values.extend(self._value(field, depth) for _ in range(length))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(self._value(field, depth))
        else:
            setattr(message, field.name, self._value(field, depth))

    def _set_map(self, message: Message, field: FieldDescriptor, entry: Descriptor) -> None:
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        if value.message_type is None:
            getattr(message, field.name)[self._value(key, 0)] = self._value(value, 0)

    def _value(self, field: FieldDescriptor, depth: int) -> Any:
        if field.message_type is not None:
            return self.message(field.message_type, depth + 1)
        if field.type in _INTEGER_BITS:
            return self._integer(*_INTEGER_BITS[field.type])
        values: dict[int, Callable[[], Any]] = {
            _Field.TYPE_STRING: self.text,
            _Field.TYPE_BYTES: self._bytes,
            _Field.TYPE_BOOL: lambda: self._chosen.random() < 0.5,  # noqa: PLR2004 - half of them
            _Field.TYPE_ENUM: lambda: self._chosen.choice((0, 1, 2, 3, 99, -1, 2**31 - 1)),
            _Field.TYPE_FLOAT: lambda: struct.unpack("f", struct.pack("f", self._double(3e38)))[0],
            _Field.TYPE_DOUBLE: lambda: self._double(1e308),
        }
        return values[field.type]()

    def _integer(self, bits: int, signed: bool) -> int:
        edges: list[int] = [0, 1, 2, 10, 100, 1_000, 1_001, int(2**bits) - 1]
        return self._chosen.choice([*edges, -1, -int(2**bits)] if signed else edges)

    def _double(self, largest: float) -> float:
        value = self._chosen.choice((*_DOUBLES, self._chosen.gauss(0, 1)))
        return max(-largest, min(largest, value)) if math.isfinite(value) else value

    def _bytes(self) -> bytes:
        return self._chosen.randbytes(self._chosen.choice((0, 1, 3, 4, 128, 129, 1_000)))
