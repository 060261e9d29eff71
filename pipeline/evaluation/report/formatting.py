"""How the report writes figures; the templates use these functions as filters."""

from __future__ import annotations

from typing import Final

_ACRONYMS: Final = ("ndcg", "hr", "map", "mrr", "auc", "f1")


def number(value: float, spec: str) -> str:
    """Return a number in Python's format ``spec``."""
    return format(value, spec)


def p_value(p: float) -> str:
    """Return a p-value with three digits."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"  # noqa: PLR2004 - the smallest that three digits can show


def duration(ms: float) -> str:
    """Return milliseconds, or seconds from one second on."""
    return f"{ms:.0f} ms" if ms < 1_000 else f"{ms / 1_000:.1f} s"  # noqa: PLR2004 - a second


def measure_name(measure: str) -> str:
    """Return a measure with its acronym in capitals."""
    kind, _, rest = measure.partition("@")
    return (kind.upper() if kind in _ACRONYMS else kind) + ("@" + rest if rest else "")
