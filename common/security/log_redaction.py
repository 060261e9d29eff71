"""Keeps the texts of requests out of the log.

Messages of errors quote what a caller sent: ids of items, values of filters, words of a query. The caller gets all of
a message; the log gets it without what is quoted.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any, Final

# What `repr` writes for a text, in either kind of quotes.
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_HIDDEN: Final = "'…'"
_MESSAGES: Final = ("detail", "reason", "change", "degradations", "exception", "event")


def hide_quoted_texts(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide what is quoted in the messages of a log line; a processor of structlog."""
    for name in _MESSAGES:
        if name in event:
            event[name] = _hidden(event[name])
    return event


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(part) for key, part in value.items()}
    if not isinstance(value, str):
        return value
    return "\n".join(map(_hidden_line, value.split("\n")))


def _hidden_line(line: str) -> str:
    """Hide what is quoted; indented lines of a stack trace name files and source, not values."""
    return line if line.startswith("  ") else _QUOTED.sub(_HIDDEN, line)
