"""The pieces of HTML that the report is put together from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.questions.answers import BOTH, FIRST, POPULAR

KIND: Final = {POPULAR: "popular", FIRST: "first", BOTH: "both"}


_SIGNIFICANT: Final = 0.05


def section(title: str, why: str, *parts: str) -> str:
    """Return a section: what it shows, in a sentence, and its parts."""
    return f'<section><h2>{escape(title)}</h2><p class="why">{escape(why)}</p>{"".join(parts)}</section>'


def panel(title: str, *parts: str) -> str:
    """Return a framed part with a heading."""
    return f'<div class="panel"><h3>{escape(title)}</h3>{"".join(parts)}</div>'


def panels(*parts: str) -> str:
    """Return framed parts side by side, where there is room."""
    return f'<div class="panels">{"".join(parts)}</div>'


def card(value: str, *lines: str) -> str:
    """Return a figure with what it is."""
    below = "".join(f"<span>{escape(part)}</span>" for part in lines)
    return f'<div class="card"><b>{escape(value)}</b>{below}</div>'


def key(kinds: Mapping[str, str]) -> str:
    """Return what the colours mean, by name the class."""
    entries = (f'<span><i class="{kind}"></i>{escape(name)}</span>' for name, kind in kinds.items())
    return f'<div class="key">{"".join(entries)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; cells are HTML already, the head is text."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def framed(*parts: str) -> str:
    """Return parts in a frame of their own."""
    return f'<div class="panel below">{"".join(parts)}</div>'


def estimated(found: Estimate) -> str:
    """Return a mean with its interval below."""
    return f"{found.mean:.4f}<small>{found.low:.4f} to {found.high:.4f}</small>"


def compared(found: Difference) -> str:
    """Return a difference with its interval and p below, coloured only where it is beyond chance."""
    kind = "even" if found.p >= _SIGNIFICANT else "up" if found.mean > 0 else "down"
    text = f"{found.low:+.4f} to {found.high:+.4f}, {p_value(found.p)}"
    return f'<span class="{kind}">{found.mean:+.4f}</span><small>{text}</small>'


def p_value(p: float) -> str:
    """Return a p-value as it is written."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"  # noqa: PLR2004 - what three digits can say


def measure_name(measure: str) -> str:
    """Return a measure as users write it."""
    kind, _, rest = measure.partition("@")
    return (kind.upper() if kind in ("ndcg", "hr", "map", "mrr", "auc", "f1") else kind) + ("@" + rest if rest else "")
