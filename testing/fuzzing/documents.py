"""Documents (JSON) and files with something changed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final

_VALUES: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 2**63, 10**400, 1e308, float("nan"), "", "\0", "../x", "/etc/passwd", "a" * 5_000, [], {}, [[]],
    {"": {}}, "2026-13-45", "\ud800", "é",
)  # fmt: skip


def changed_document(chosen: random.Random, document: Any) -> Any:
    """Return a copy of a JSON value with one to three places replaced, removed, renamed or nested."""
    copy = json.loads(json.dumps(document))
    for _ in range(chosen.randint(1, 3)):
        copy = _changed(chosen, copy)
    return copy


def document_bytes(chosen: random.Random, document: Any) -> bytes:
    """Return a changed document as bytes; a fifth of them are no JSON."""
    content = json.dumps(changed_document(chosen, document)).encode()
    draw = chosen.random()
    if draw < 0.8:  # noqa: PLR2004 - the rest is damaged
        return content
    if draw < 0.82:  # noqa: PLR2004
        return b'{"format":' + b"[" * 100_000
    at = chosen.randrange(len(content) + 1)
    return content[:at] + chosen.randbytes(chosen.choice((0, 1, 5)))


def damage_file(chosen: random.Random, file: Path) -> None:
    """Cut, overwrite, extend, empty or remove a file, or put a folder or a broken link in its place."""
    content = file.read_bytes()
    at = chosen.randrange(len(content) + 1)
    match chosen.randrange(6):
        case 0:
            file.write_bytes(content[:at])
        case 1:
            file.write_bytes(content[:at] + chosen.randbytes(4) + content[at + 4 :])
        case 2:
            file.write_bytes(content + b"\0")
        case 3:
            file.write_bytes(b"")
        case 4:
            file.unlink()
            file.mkdir()
        case _:
            file.unlink()
            file.symlink_to("missing")


def _changed(chosen: random.Random, value: Any) -> Any:
    """Descend to a random place and change it."""
    if isinstance(value, dict) and value and chosen.random() < 0.8:  # noqa: PLR2004 - mostly further down
        key = chosen.choice(sorted(value))
        match chosen.randrange(6):
            case 0:
                return {name: inner for name, inner in value.items() if name != key}
            case 1:
                return {(str(chosen.choice(_VALUES)) if name == key else name): inner for name, inner in value.items()}
            case _:
                return value | {key: _changed(chosen, value[key])}
    if isinstance(value, list) and value and chosen.random() < 0.5:  # noqa: PLR2004
        at = chosen.randrange(len(value))
        return [*value[:at], _changed(chosen, value[at]), *value[at + 1 :]]
    if isinstance(value, str) and value and chosen.random() < 0.3:  # noqa: PLR2004
        at = chosen.randrange(len(value))
        return value[:at] + chosen.choice("0aZ/.\0é") + value[at + 1 :]
    return chosen.choice(_VALUES)
