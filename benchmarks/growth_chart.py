"""How costs grow with the catalogue, as an SVG picture that stands by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.evaluation.svg import Scale, axis_below, axis_left, dot, path, picture, text

_WIDTH: Final = 360
_HEIGHT: Final = 300
# The figure's name, what stands above its axis, and the least that the axis shows.
_PLOTS: Final = (
    ("p50_ms", "p50 of Retrieve, ms", 1.0),
    ("p99_ms", "p99 of Retrieve, ms", 1.0),
    ("build_s", "graph built in, s", 1.0),
    ("load_s", "release loaded in, s", 1.0),
    ("bytes_per_item_in_memory", "memory, bytes an item", 1_000.0),
    ("recall", "recall@100", 1.0),
)
_STYLE: Final = (
    "<style>text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.w{stroke:#26c;stroke-width:2;fill:none}"
    ".f{fill:#26c}.a{font-weight:bold}</style>"
)


def growth(figures: Mapping[int, Mapping[str, float]]) -> str:
    """Draw each figure against the number of items, on a logarithmic axis.

    Args:
        figures: By the number of items, each figure by its name.
    """
    plots = [
        f'<g transform="translate({place % 2 * _WIDTH} {place // 2 * _HEIGHT})">{"".join(_plot(figures, *plot))}</g>'
        for place, plot in enumerate(_PLOTS)
    ]
    drawn = picture(2 * _WIDTH, math.ceil(len(_PLOTS) / 2) * _HEIGHT, [_STYLE, *plots], "Growth with the catalogue")
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def _plot(figures: Mapping[int, Mapping[str, float]], name: str, label: str, least: float) -> Sequence[str]:
    sizes = sorted(figures)
    values = [figures[size][name] for size in sizes]
    across = Scale(sizes[0], sizes[-1], 60, _WIDTH - 30, math.log10)
    up = Scale(0.0, max(least, *values) * 1.05, _HEIGHT - 60, 40)
    points = [(across(size), up(value)) for size, value in zip(sizes, values, strict=True)]
    marks = [
        dot(x, y, "f", f"{size:,} items: {value:,.4g}")
        for (x, y), size, value in zip(points, sizes, values, strict=True)
    ]
    return [
        *axis_below(across, up.start, up.end, "items", [float(size) for size in sizes]),
        *axis_left(up, across.start, across.end, label),
        path(points, "w"),
        *marks,
        text(across.end, up(values[-1]) - 10, f"{values[-1]:,.4g}", "n", "end"),
    ]
