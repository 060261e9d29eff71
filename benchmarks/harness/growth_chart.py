"""Curves of figures that grow, as panels of one stand-alone SVG file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.evaluation.report.svg import Scale, axis_below, axis_left, dot, path, picture, text

_WIDTH: Final = 360
_HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 330, 56, 250
_STYLE: Final = (
    "<style>text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.curve{fill:none;stroke:#26c;stroke-width:2}"
    ".point{fill:#26c}.head,.a{font-weight:bold}</style>"
)


@dataclass(frozen=True)
class Panel:
    """One curve.

    Attributes:
        title: The title above the curve.
        x_label: The label of the x axis.
        values: The figure by x.
        min_top: The y axis reaches at least this value.
        transform: The scale of the x axis, such as a logarithm.
        ticks: Ticks of the x axis; default every value.
    """

    title: str
    x_label: str
    values: Mapping[float, float]
    min_top: float = 1.0
    transform: Callable[[float], float] = math.log10
    ticks: Sequence[float] | None = None


def growth_chart(panels: Sequence[Panel], title: str, columns: int) -> str:
    """Return an SVG file with the panels in rows of ``columns``."""
    offsets = [(number % columns * _WIDTH, number // columns * _HEIGHT) for number in range(len(panels))]
    groups = [
        f'<g transform="translate({x} {y})">{"".join(_elements(panel))}</g>'
        for (x, y), panel in zip(offsets, panels, strict=True)
    ]
    width, height = columns * _WIDTH, math.ceil(len(panels) / columns) * _HEIGHT
    background = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    svg = picture(width, height, [_STYLE, background, *groups], title)
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def _elements(panel: Panel) -> list[str]:
    values = dict(sorted(panel.values.items()))
    x_scale = Scale(min(values), max(values), _LEFT, _RIGHT, panel.transform)
    y_scale = Scale(0.0, max(panel.min_top, *values.values()) * 1.05, _BOTTOM, _TOP)
    points = [(x_scale(size), y_scale(value)) for size, value in values.items()]
    marks = zip(points, values.items(), strict=True)
    return [
        *axis_below(x_scale, _BOTTOM, _TOP, panel.x_label, list(values) if panel.ticks is None else panel.ticks),
        *axis_left(y_scale, _LEFT, _RIGHT, ""),
        text(_LEFT, 20, panel.title, "head"),
        path(points, "curve"),
        *(dot(x, y, "point", f"{size:,g}: {value:,.4g}") for (x, y), (size, value) in marks),
    ]
