"""Draws what `ranking-growth` measured: pairs a second along each axis, in one picture that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from pipeline.evaluation.svg import Scale, axis_below, axis_left, dot, path, picture, text

_WIDTH: Final = 340
_HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 320, 56, 250
_STYLE: Final = (
    "<style>text{font:12px sans-serif;fill:#444}.grid{stroke:#ddd}.curve{fill:none;stroke:#2060a0;stroke-width:2}"
    ".f{fill:#2060a0}.head{font-weight:bold}</style>"
)


def growth_plot(axes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return an SVG file with a plot for each axis.

    Args:
        axes: By name of the axis, by its value, what was measured there; `pairs/s` is drawn.
    """
    highest = max(point["pairs/s"] for points in axes.values() for point in points.values())
    parts = [_STYLE, f'<rect width="{_WIDTH * len(axes)}" height="{_HEIGHT}" fill="#fff"/>']
    for number, (name, points) in enumerate(axes.items()):
        rates = {float(value): float(point["pairs/s"]) for value, point in points.items()}
        parts += [f'<g transform="translate({number * _WIDTH} 0)">', *_panel(name, rates, highest), "</g>"]
    drawn = picture(_WIDTH * len(axes), _HEIGHT, parts, "Pairs a second as work grows")
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def _panel(name: str, rates: Mapping[float, float], highest: float) -> list[str]:
    below = Scale(min(rates), max(rates), _LEFT, _RIGHT, math.log2)
    left = Scale(0.0, highest * 1.05, _BOTTOM, _TOP)
    points = [(below(value), left(rate)) for value, rate in rates.items()]
    ticks = [value for number, value in enumerate(rates) if number % 2 == 0]
    return [
        text(_LEFT, 20, f"by {name}", "head"),
        *axis_below(below, _BOTTOM, _TOP, name, ticks),
        *axis_left(left, _LEFT, _RIGHT, "pairs/s"),
        path(points, "curve"),
        *(
            dot(x, y, "f", f"{value:g}: {rates[value]:,.0f} pairs/s")
            for (x, y), value in zip(points, rates, strict=True)
        ),
    ]
