"""SVG scales, axes and marks. Colours are CSS classes of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICKS: Final = 5


def _identity(value: float) -> float:
    return value


@dataclass(frozen=True)
class Scale:
    """Maps values to coordinates.

    Attributes:
        low: The smallest value.
        high: The largest value.
        start: Coordinate of ``low``, in pixels.
        end: Coordinate of ``high``, in pixels.
        transform: Increasing function applied to values first.
    """

    low: float
    high: float
    start: float
    end: float
    transform: Callable[[float], float] = _identity

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value, clipped to the ends."""
        low, high = self.transform(self.low), self.transform(self.high)
        share = (self.transform(value) - low) / (high - low) if high > low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return about five round values between the ends."""
        span = (self.high - self.low) or 1.0
        size = 10.0 ** math.floor(math.log10(span / _TICKS))
        step = next(size * part for part in _STEPS if span / (size * part) <= _TICKS)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def picture(width: int, height: int, parts: Sequence[str], title: str) -> str:
    """Return an SVG picture with an accessible title."""
    body = "".join(parts)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" style="max-width:{width}px">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    """Return a line of text at a point."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def dot(x: float, y: float, kind: str, tooltip: str, radius: float = 4.5) -> str:
    """Return a dot with a tooltip."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{kind}"><title>{escape(tooltip)}</title></circle>'


def box(x: float, y: float, width: float, height: float, kind: str, tooltip: str) -> str:
    """Return a filled rectangle with a tooltip."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="2" class="{kind}">'
        f"<title>{escape(tooltip)}</title></rect>"
    )


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """Return a line through points."""
    steps = " ".join(f"{'M' if not number else 'L'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(points))
    return f'<path d="{steps}" class="{kind}"/>'


def axis_below(scale: Scale, y: float, top: float, label: str, ticks: Sequence[float] | None = None) -> list[str]:
    """Return a horizontal axis at ``y`` with grid lines up to ``top``."""
    parts = []
    for value in scale.ticks() if ticks is None else ticks:
        parts += [
            line(scale(value), top, scale(value), y, "grid"),
            text(scale(value), y + 16, short(value), "t", "middle"),
        ]
    return [*parts, text((scale.start + scale.end) / 2, y + 34, label, "a", "middle")]


def axis_left(scale: Scale, x: float, right: float, label: str, ticks: Sequence[float] | None = None) -> list[str]:
    """Return a vertical axis at ``x`` with grid lines to ``right``; its label is above."""
    parts = []
    for value in scale.ticks() if ticks is None else ticks:
        parts += [
            line(x, scale(value), right, scale(value), "grid"),
            text(x - 8, scale(value) + 4, short(value), "t", "end"),
        ]
    return [*parts, text(x - 8, min(scale.start, scale.end) - 14, label, "a")]


def short(value: float) -> str:
    """Return a number in a form short enough for an axis."""
    if abs(value) < 1e-9:  # noqa: PLR2004 - sums of steps are not quite 0
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"  # noqa: PLR2004 - else 1e+03
